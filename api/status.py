"""/live and /ready: is the process up, and can it do its work? For supervisors and balancers: no envelope."""

import logging

from flask import Blueprint, Response, jsonify

from api.access import public
from api.extensions import database, nodes, writability
from api.listing import read_flag
from api.rate_limit import costs
from kamailio.errors import KamailioError
from kamailio.survey import uptime
from sql.connections.writability import refuse_read_only
from sql.errors import DatabaseError, DatabaseReadOnly
from sql.schema.migrate import require_current_schema

blueprint = Blueprint("status", __name__)
# What answers slower is not ready, and no thread is to wait for it: anybody may ask.
READY_SECONDS = 0.5

log = logging.getLogger(__name__)


@blueprint.get("/live")
@public
@costs(0)
def live() -> Response:
    """200 as long as the process answers."""
    return jsonify(status="live")


@blueprint.get("/ready")
@public
@costs(0)
def ready() -> tuple[Response, int]:
    """A word for each dependency; 503 while the database is away, or takes no writes and `writes=false` is not asked.

    A balancer sends flushes where writes work, and may send lists elsewhere, too. Lists work without Kamailio.
    """
    writes = read_flag("writes", default=True)
    database_word = _database_word(writes=writes)
    status, code = {
        "ok": ("ready", 200),
        DatabaseReadOnly.__name__: ("read-only", 503 if writes else 200),
    }.get(database_word, ("not ready", 503))
    return jsonify(status=status, database=database_word, **_kamailio_words()), code


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
    answers = nodes().on_each(nodes().ids, lambda _, client: uptime(client), timeout=READY_SECONDS)
    for node, answer in answers.items():
        if isinstance(answer, KamailioError):
            facts = {"action": "ready", "server_id": node, "cause": str(answer)}
            log.warning("Kamailio is not ready", extra=facts)
    words = {
        node: type(answer).__name__ if isinstance(answer, KamailioError) else "ok" for node, answer in answers.items()
    }
    if len(words) == 1:
        return {"kamailio": next(iter(words.values()))}
    return {f"kamailio_{node}": word for node, word in words.items()}
