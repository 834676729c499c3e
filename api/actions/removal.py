"""The order of a flush: recorded in the database, then sent to all nodes of Kamailio at once, then hidden from lists.

Hiding comes last, as a row that Kamailio has removed need not be hidden. When the time for the request is over, the
worker retries what a node has not confirmed. So a recorded flush is a success whatever Kamailio answers.
"""

import logging
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass
from threading import Thread

from flask import g

from api.access import current_access
from api.actions.check_sync import send_check_sync
from api.errors import TooManyRequests
from api.extensions import database, nodes, settings
from kamailio.bindings import Outcome
from kamailio.errors import KamailioError
from kamailio.nodes import Nodes
from kamailio.removal import remove
from kamailio.rpc import JsonRpcClient
from sql.connections.database import Connection
from sql.errors import DatabaseUnreachable
from sql.flushes.progress import Answers, Pending, count_pending, measure_backlog, note_answers
from sql.flushes.requests import Binding, Flush, NodeSet, hide_bindings, request_flush
from sql.registrations.contacts import DeviceContact, find_flush_contacts

# The worker leaves a flush to the API for the time of the calls and so long: for two statements that time out.
MARGIN_SECONDS = 20.0
# Until the worker looks for what no node confirmed, and for rows that stayed; usrloc's timer needs longer to write.
RETRY_SECONDS = 1.0
LATE_RECHECK_SECONDS = 10.0
# With more unconfirmed bindings than this, an account gets no further flush: each flush writes all of them again.
BACKLOG_BINDINGS = 50_000
BACKLOG_RETRY_SECONDS = 10

Answered = tuple[Binding, Outcome | KamailioError]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flushed:
    """A flush for the envelope: how many bindings are gone, and how many a node has still to confirm."""

    flushed: int
    pending: int
    flush_id: str


def flush(account_id: str, *, username: str | None = None, check_sync: bool) -> Flushed | None:
    """Record the flush of an account, or of one SIP username of it, and carry out what can be done at once.

    Args:
        account_id: whose bindings.
        username: in any case; None for all.
        check_sync: whether the phones get NOTIFY check-sync afterwards; the answer does not wait for that.

    Returns:
        None if neither a device nor a live binding has the username.

    Raises:
        TooManyRequests: nothing was recorded, as too many bindings of earlier flushes are unconfirmed.
        DatabaseUnreachable: nothing was recorded; or it was, and is carried out without the client's knowledge.
    """
    proxy, budget = nodes(), settings().api_flush_budget
    late = proxy.write_late()
    with database().connection() as connection:
        if measure_backlog(connection, account_id, limit=BACKLOG_BINDINGS) == BACKLOG_BINDINGS:
            raise TooManyRequests(retry_after=BACKLOG_RETRY_SECONDS)
        promised = request_flush(
            connection,
            account_id,
            username=username,
            cause="request",
            requested_by=current_access().account_id,
            request_id=g.request_id,
            lease=budget + MARGIN_SECONDS,
            late=late,
        )
        if promised is None:
            return None
        facts = {"flush_id": promised.id, "account_id": account_id, "bindings": promised.shown}
        log.info("flush promised", extra={"action": "flush", **facts})
        contacts = find_flush_contacts(connection, promised.id) if check_sync else []
    answers = _tell(promised, proxy=proxy, budget=budget)
    with database().connection() as connection:
        hide_bindings(connection, [binding.id for binding in promised.bindings if binding.shown], wait=True)
    try:
        with database().connection() as connection:
            pending = _note(connection, promised, answers, proxy=proxy)
    except DatabaseUnreachable as error:
        log.warning("flush left to the worker", extra={"action": "flush", "flush_id": promised.id, "cause": str(error)})
        with_row = sum(binding.ruid is not None for binding in promised.bindings)
        pending = Pending(shown=promised.shown, bindings=with_row, unsettled=len(promised.bindings))
    if contacts:
        reboot = settings().api_sync_reboot
        Thread(
            target=copy_context().run,
            args=(_call_back, proxy, contacts),
            kwargs={"reboot": reboot, "budget": budget},
        ).start()
    return Flushed(flushed=promised.shown - pending.shown, pending=pending.bindings, flush_id=promised.id)


def _call_back(proxy: Nodes, contacts: Sequence[DeviceContact], *, reboot: bool, budget: float) -> None:
    """Have the phones fetch their configuration and register anew, now that their bindings are gone."""
    try:
        send_check_sync(proxy, contacts, reboot=reboot, budget=budget)
    except KamailioError as error:
        log.warning("check-sync not sent", extra={"action": "sync", "cause": str(error)})


def _tell(promised: Flush, *, proxy: Nodes, budget: float) -> dict[int, list[Answered]]:
    """Have each node that may hold a binding remove it; returns their answers."""
    at_node: dict[int, list[Binding]] = {}
    for binding in promised.bindings:
        for node in proxy.holders(binding.server_id):
            at_node.setdefault(node, []).append(binding)

    def at(node: int, client: JsonRpcClient) -> list[Outcome | KamailioError]:
        return remove(client, at_node[node], budget=budget)

    answers = proxy.on_each(at_node, at)
    return {
        node: [(binding, answer) for binding in at_node[node]]
        if isinstance(answer, KamailioError)
        else list(zip(at_node[node], answer, strict=True))
        for node, answer in answers.items()
    }


def _note(connection: Connection, promised: Flush, answers: dict[int, list[Answered]], *, proxy: Nodes) -> Pending:
    """Record what each node answered; returns what is not confirmed."""
    for node, pairs in answers.items():
        gone = [binding.id for binding, outcome in pairs if outcome is Outcome.GONE]
        failed = {binding.id: outcome for binding, outcome in pairs if isinstance(outcome, KamailioError)}
        error = next(iter(failed.values()), None)
        late, server_id = proxy.mode(node) not in (1, 3), proxy.server_id(node)
        note_answers(
            connection,
            NodeSet(tuple(map(proxy.server_id, proxy.ids)), proxy.replicated),
            Answers(node=server_id, flushes={promised.id: error}, gone=gone, failed=list(failed)),
            recheck=LATE_RECHECK_SECONDS if late else RETRY_SECONDS,
            longest_pause=RETRY_SECONDS,
        )
        if error is not None:
            facts = {"flush_id": promised.id, "server_id": server_id, "left": len(failed), "cause": str(error)}
            log.warning("flush left to the worker", extra={"action": "flush", **facts})
    return count_pending(connection, promised.id)
