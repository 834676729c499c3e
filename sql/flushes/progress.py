"""How far a flush has come: what nodes answered, what is due at each, what is left, when it can be forgotten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sql.connections.database import Connection
from sql.flushes.requests import BATCH_ROWS, Binding, NodeSet, execute_once, read_bindings

# For whoever asked to look at what became of it.
EMPTY_SECONDS = 300.0
KEPT_FLUSHES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one node said of bindings, by the ids of their records.

    Attributes:
        node: its server_id.
        flushes: each flush that it was asked about, with what went wrong or None. It is kept as the name of its type, a
            colon, and its words, which name URLs: these are for operators.
        gone: bindings that it has no more.
        newer: those that registered again since their flush was asked for.
        failed: those of which neither is certain; they are due again after a pause.
    """

    node: int
    flushes: Mapping[str, Exception | None]
    gone: Sequence[int] = ()
    newer: Sequence[int] = ()
    failed: Sequence[int] = ()


def note_answers(
    connection: Connection, nodes: NodeSet, answers: Answers, *, recheck: float, longest_pause: float
) -> None:
    """Write down what a node said, and what has come true by it.

    Args:
        connection: in autocommit mode.
        nodes: all there are.
        answers: of one of them.
        recheck: seconds until the worker looks at a row that is still there.
        longest_pause: seconds between two tries at the most.
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
            execute_once(connection, "flush_node_write", values)
            execute_once(connection, "flush_finish", values)


@dataclass(frozen=True, slots=True)
class Pending:
    """What of a flush is not confirmed.

    Attributes:
        shown: bindings of it that showed in lists, by their own node.
        bindings: all that have a row, such as those that an earlier flush hides already; by their own node.
        unsettled: whatever a node has still to be asked about.
    """

    shown: int
    bindings: int
    unsettled: int


def count_pending(connection: Connection, flush_id: str) -> Pending:
    """How much of a flush is left."""
    row = execute_once(connection, "flush_pending", {"flush_id": flush_id}).fetchone()
    return Pending(*row) if row else Pending(0, 0, 0)


def find_due(
    connection: Connection, nodes: NodeSet, node: int, *, limit: int, flush_id: str | None = None
) -> list[Binding]:
    """What a node is to be asked about now, longest waiting first; or what is left of one flush, due or not."""
    common = {"node": node, "nodes": list(nodes.ids), "replicated": nodes.replicated}
    return read_bindings(connection, "flush_due", {**common, "limit": limit, "flush_id": flush_id})


def delete_left_rows(connection: Connection, records: Sequence[int]) -> int:
    """Delete rows that stayed although no node has their binding any more; returns how many.

    In batches, and what a Kamailio statement holds at this moment is left: no SIP worker waits.
    """
    return sum(
        execute_once(connection, "flush_rows_delete", {"ids": list(records[start : start + BATCH_ROWS])}).rowcount
        for start in range(0, len(records), BATCH_ROWS)
    )


@dataclass(frozen=True, slots=True)
class RowsLeft:
    """Rows that are still there after they were to be removed, by the ids of their bindings' records.

    Attributes:
        newer: registered again since their flush was asked for.
        held: by a statement of somebody else's at that moment.
    """

    newer: set[int]
    held: set[int]


def remove_rows(connection: Connection, records: Sequence[int]) -> RowsLeft:
    """Remove bindings that live in their rows alone (db_mode 3), unless they registered since. Waits for nobody.

    PostgreSQL compares and deletes in one step. Kamailio does it in several, and a REGISTER comes in between.

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
    """How many bindings flushes of an account have still to remove, up to ``limit``."""
    row = execute_once(connection, "flush_backlog", {"account_id": account_id, "limit": limit}).fetchone()
    return int(row[0]) if row else 0


def expire_flushes(connection: Connection, *, grace: float, keep: float, limit: int) -> int:
    """Forget bindings that would have expired by themselves, and flushes that were finished long ago.

    Args:
        connection: in autocommit mode.
        grace: seconds since a binding would have expired.
        keep: seconds since a flush was finished; `EMPTY_SECONDS` if it found nothing. An account keeps `KEPT_FLUSHES`.
        limit: of each at the most.

    Returns:
        How many flushes were deleted.
    """
    values = {"grace": grace, "keep": keep, "keep_empty": EMPTY_SECONDS, "most": KEPT_FLUSHES, "limit": limit}
    return execute_once(connection, "flush_expire", values).rowcount


def find_request_ids(connection: Connection, flush_ids: Sequence[str]) -> dict[str, str | None]:
    """The IDs of the HTTP requests that asked for these flushes; None for those of a command or the worker."""
    return dict(execute_once(connection, "flush_requests", {"flush_ids": list(flush_ids)}).fetchall())
