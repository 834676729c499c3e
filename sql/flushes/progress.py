"""The progress of flushes: what nodes answered, what is due at each node, what is left, what can be deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sql.connections.database import Connection
from sql.flushes.requests import BATCH_ROWS, Binding, NodeSet, execute_once, read_bindings

# How long the record of a flush that found nothing is kept for its requester, and the maximum of records an account.
EMPTY_SECONDS = 300.0
KEPT_FLUSHES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One node's answers about bindings, by the ids of their records.

    Attributes:
        node: its server_id.
        flushes: each flush that the node was asked about, with its error or None. The error is stored as the name of
            its type, a colon and its message, which names URLs: it is for operators.
        gone: bindings that it does not have.
        newer: bindings that registered again after their flush was requested.
        failed: bindings for which neither is certain; they are due again after a pause.
    """

    node: int
    flushes: Mapping[str, Exception | None]
    gone: Sequence[int] = ()
    newer: Sequence[int] = ()
    failed: Sequence[int] = ()


def note_answers(
    connection: Connection, nodes: NodeSet, answers: Answers, *, recheck: float, longest_pause: float
) -> None:
    """Store a node's answers, and finish the flushes that they complete.

    Args:
        connection: in autocommit mode.
        nodes: all nodes.
        answers: of one of them.
        recheck: seconds until the worker checks a row that still exists.
        longest_pause: maximum of seconds between two attempts.
    """
    values = {
        "node": answers.node,
        "nodes": list(nodes.ids),
        "replicated": nodes.replicated,
        "recheck": recheck,
        "longest_pause": longest_pause,
        "flush_ids": list(answers.flushes),
        "errors": [error and f"{type(error).__name__}: {error}" for error in answers.flushes.values()],
    }
    with connection.transaction():
        ids = [*answers.gone, *answers.newer, *answers.failed]
        execute_once(connection, "flush_lock", {**values, "ids": ids})
        if answers.gone:
            execute_once(connection, "flush_forget", {**values, "ids": list(answers.gone)})
            execute_once(connection, "flush_confirm", {**values, "ids": list(answers.gone)})
        if answers.newer:
            execute_once(connection, "flush_supersede", {"ids": list(answers.newer)})
        if answers.failed:
            execute_once(connection, "flush_postpone", {**values, "ids": list(answers.failed)})
        if answers.flushes:
            execute_once(connection, "flush_node_renumber", values)
            execute_once(connection, "flush_node_write", values)
            execute_once(connection, "flush_finish", values)


@dataclass(frozen=True, slots=True)
class Pending:
    """The part of a flush that is not confirmed.

    Attributes:
        shown: bindings that lists showed and that their own node has not confirmed.
        bindings: the same for all bindings that have a row, also those that an earlier flush hides already.
        unsettled: everything that some node has not confirmed.
    """

    shown: int
    bindings: int
    unsettled: int


def count_pending(connection: Connection, flush_id: str) -> Pending:
    """The part of a flush that is not confirmed."""
    row = execute_once(connection, "flush_pending", {"flush_id": flush_id}).fetchone()
    return Pending(*row) if row else Pending(0, 0, 0)


def find_due(
    connection: Connection, nodes: NodeSet, node: int, *, limit: int, flush_id: str | None = None
) -> list[Binding]:
    """The bindings that are due at a node, oldest first; or what is left of one flush, due or not."""
    common = {"node": node, "nodes": list(nodes.ids), "replicated": nodes.replicated}
    return read_bindings(connection, "flush_due", {**common, "limit": limit, "flush_id": flush_id})


def delete_left_rows(connection: Connection, records: Sequence[int]) -> int:
    """Delete rows that are left although no node has their binding. Returns their number.

    Deletes in batches and skips rows that a statement of Kamailio has locked, so no SIP worker waits.
    """
    return sum(
        execute_once(connection, "flush_rows_delete", {"ids": list(records[start : start + BATCH_ROWS])}).rowcount
        for start in range(0, len(records), BATCH_ROWS)
    )


@dataclass(frozen=True, slots=True)
class RowsLeft:
    """Rows that could not be removed, by the ids of their bindings' records.

    Attributes:
        newer: they registered again after their flush was requested.
        held: another session had locked them.
    """

    newer: set[int]
    held: set[int]


def remove_rows(connection: Connection, records: Sequence[int]) -> RowsLeft:
    """Remove bindings that exist only as rows (db_mode 3), unless they registered again. Waits for no lock.

    PostgreSQL compares and deletes in one step. Kamailio needs several, and a REGISTER may come in between.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        records: ids of `Binding`s.
    """
    left = RowsLeft(newer=set(), held=set())
    for start in range(0, len(records), BATCH_ROWS):
        values = {"ids": list(records[start : start + BATCH_ROWS])}
        execute_once(connection, "flush_rows_remove", values)
        for record, held in execute_once(connection, "flush_rows_left", values).fetchall():
            (left.held if held else left.newer).add(record)
    return left


def measure_backlog(connection: Connection, account_id: str, *, limit: int) -> int:
    """The number of bindings that flushes of an account still have to remove, up to ``limit``."""
    row = execute_once(connection, "flush_backlog", {"account_id": account_id, "limit": limit}).fetchone()
    return int(row[0]) if row else 0


def expire_flushes(connection: Connection, *, grace: float, keep: float, limit: int) -> int:
    """Delete bindings that have expired anyway, and flushes that were finished long ago.

    Args:
        connection: in autocommit mode.
        grace: seconds after a binding's expiry.
        keep: seconds after a flush was finished; `EMPTY_SECONDS` if it found nothing. An account keeps `KEPT_FLUSHES`.
        limit: maximum of each.

    Returns:
        The number of flushes deleted.
    """
    values = {"grace": grace, "keep": keep, "keep_empty": EMPTY_SECONDS, "most": KEPT_FLUSHES, "limit": limit}
    return execute_once(connection, "flush_expire", values).rowcount


def find_request_ids(connection: Connection, flush_ids: Sequence[str]) -> dict[str, str | None]:
    """The IDs of the HTTP requests that requested these flushes; None if a command or the worker did."""
    return dict(execute_once(connection, "flush_requests", {"flush_ids": list(flush_ids)}).fetchall())
