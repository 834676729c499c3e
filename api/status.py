"""/live and /ready: is the process up, and can it do its work? For supervisors and balancers: no envelope."""

import logging
from threading import Lock
from time import monotonic

from flask import Blueprint, Response, current_app, jsonify
from flask.blueprints import BlueprintSetupState

from api.extensions import database, nodes, writability
from api.listing import read_flag
from api.policy import OPEN, follows
from kamailio.errors import KamailioError
from kamailio.survey import uptime
from sql.connections.writability import refuse_read_only
from sql.errors import DatabaseError, DatabaseReadOnly, DatabaseUnreachable
from sql.schema.record import require_current_schema

blueprint = Blueprint("status", __name__)
# A node that answers later is not ready. Nobody needs a token for /ready, so it must not hold a thread for long.
NODE_SECONDS = 0.5
# Anybody may ask as often as they like, so an answer is kept for so long.
ANSWER_SECONDS = 1.0
# Others wait so long for the one that asks. If PostgreSQL hangs, they must not hold every thread of the server.
WAIT_SECONDS = 0.5

log = logging.getLogger(__name__)


class _Readiness:
    """The last answer to /ready. One request at a time asks PostgreSQL and Kamailio; others wait a moment for it."""

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes
        self._lock = Lock()
        self._until = 0.0
        self._words: dict[str, str] = {}

    def words(self) -> dict[str, str]:
        """A word for each dependency, at most ANSWER_SECONDS old."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            return {"database": DatabaseUnreachable.__name__}
        try:
            if monotonic() >= self._until:
                self._words = {"database": _database_word(writes=self._writes), **_kamailio_words()}
                self._until = monotonic() + ANSWER_SECONDS
            return self._words
        finally:
            self._lock.release()


@blueprint.record
def _keep_answers(state: BlueprintSetupState) -> None:
    state.app.extensions["readiness"] = {writes: _Readiness(writes=writes) for writes in (True, False)}


@blueprint.get("/live")
@follows(OPEN)
def live() -> Response:
    """200 as long as the process answers."""
    return jsonify(status="live")


@blueprint.get("/ready")
@follows(OPEN)
def ready() -> tuple[Response, int]:
    """A word for each dependency; 503 while the database is away, or takes no writes unless `writes=false` is asked.

    So a balancer sends flushes where writes work, and may send lists elsewhere as well. Lists work without Kamailio.
    """
    writes = read_flag("writes", default=True)
    words = current_app.extensions["readiness"][writes].words()
    status, code = {
        "ok": ("ready", 200),
        DatabaseReadOnly.__name__: ("read-only", 503 if writes else 200),
    }.get(words["database"], ("not ready", 503))
    return jsonify(status=status, **words), code


def _database_word(*, writes: bool) -> str:
    try:
        with database().connection() as connection:
            require_current_schema(connection)
            if writes:
                writability().require(connection)
            else:
                refuse_read_only(connection)
    except DatabaseReadOnly as error:
        if writes:
            log.warning("database is read-only", extra={"action": "ready", "cause": str(error)})
        return type(error).__name__
    except DatabaseError as error:
        log.warning("database is not ready", extra={"action": "ready", "cause": str(error)})
        return type(error).__name__
    return "ok"


def _kamailio_words() -> dict[str, str]:
    answers = nodes().on_each(nodes().ids, lambda _, client: uptime(client), timeout=NODE_SECONDS)
    words = {}
    for node, answer in answers.items():
        failed = isinstance(answer, KamailioError)
        words[f"kamailio_{node}" if len(answers) > 1 else "kamailio"] = type(answer).__name__ if failed else "ok"
        if failed:
            facts = {"action": "ready", "server_id": node, "cause": str(answer)}
            log.warning("Kamailio is not ready", extra=facts)
    return words
