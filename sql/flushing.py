"""Flushes as the database keeps them: asked for, confirmed by one node after the other, finished.

A flush is a promise from the moment that :func:`request_flush` has committed: the worker carries it out whatever
becomes of the one who asked. From :func:`hide_bindings` on no list has its bindings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from psycopg import Rollback
from psycopg.rows import class_row

from sql.connections import Connection
from sql.statements import statement

Cause = Literal["request", "command", "disabled", "deleted", "moved", "credentials"]

# Rows of location that are locked together: few enough that no SIP worker waits for one of them for long.
BATCH_ROWS = 200


@dataclass(frozen=True, slots=True)
class NodeSet:
    """Which nodes there are: their server_ids, and whether each may hold any binding (DMQ)."""

    ids: tuple[int, ...]
    replicated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding as it was when its flush was asked for.

    Attributes:
        id: of this record, not of the row in location.
        ruid: None stands for whatever the AoR had.
        domain: None with usrloc's use_domain=0.
        server_id: of the node that took its REGISTER; None when no row is known.
        modified_epoch: of that REGISTER, epoch seconds on Kamailio's clock.
        cseq: of that REGISTER.
        requested_epoch: when the flush was asked for, on PostgreSQL's clock.
        shown: whether it was in lists until then.
        confirmed: nodes whose memory is clean of it.
        settled_for: seconds since the last node confirmed; None before. Its row may still be there.
        attempts: how often a node was asked about it.
    """

    id: int
    flush_id: str = ""
    ruid: str | None
    username: str
    domain: str | None
    server_id: int | None
    modified_epoch: int
    cseq: int
    requested_epoch: int
    shown: bool
    confirmed: list[int] = field(default_factory=list)
    settled_for: float | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush that has just been asked for, and is in the database."""

    id: str
    bindings: list[Binding]

    @property
    def shown(self) -> int:
        """How many of the bindings were in lists."""
        return sum(binding.shown for binding in self.bindings)


def account_exists(connection: Connection, account_id: str) -> bool:
    """Whether there is such an account: the flush of one that is not there would have nothing to do, and be done."""
    row = connection.execute(statement("account_exists"), {"account_id": account_id}).fetchone()
    return bool(row and row[0])


def request_flush(
    connection: Connection,
    account_id: str,
    *,
    username: str | None = None,
    cause: Cause,
    requested_by: str,
    request_id: str | None = None,
    lease: float,
    unwritten: bool = False,
) -> Flush | None:
    """Promise a flush; nothing is hidden yet.

    Args:
        connection: in autocommit mode.
        account_id: whose bindings.
        username: only of this one, in any case; all if None.
        cause: why.
        requested_by: account of the token, or user of the shell.
        request_id: of the HTTP request.
        lease: seconds that the caller needs for a first try of his own, before the worker looks at it.
        unwritten: count on bindings without a row for a whole account, too (db_mode 2); for one username always.

    Returns:
        None when ``username`` is neither a device's nor a live binding's; nothing is written then.
    """
    values = {"account_id": account_id, "username": username, "lease": lease}
    with connection.transaction() as transaction, connection.cursor(row_factory=class_row(Binding)) as cursor:
        row = connection.execute(
            statement("flush_insert"),
            {**values, "cause": cause, "requested_by": requested_by, "request_id": request_id},
        ).fetchone()
        assert row is not None  # noqa: S101  # INSERT ... RETURNING has a row
        values["flush_id"] = flush_id = row[0]
        bindings = cursor.execute(statement("flush_bindings"), values).fetchall()
        if username is not None or unwritten:
            bindings += cursor.execute(statement("flush_devices"), values).fetchall()
        flush = Flush(flush_id, bindings)
        if bindings:
            connection.execute(statement("flush_count"), {"flush_id": flush_id, "bindings": flush.shown})
        else:
            connection.execute(statement("flush_finish"), {"flush_ids": [flush_id]})
            if username is not None:
                raise Rollback(transaction)
        return flush
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one node said of bindings, by the ids of their records.

    Attributes:
        node: its server_id.
        flushes: each flush that it was asked about, with what went wrong or None.
        gone: bindings that it has no more.
        newer: those that registered again since their flush was asked for.
        failed: those of which neither is certain; they are due again after a pause.
    """

    node: int
    flushes: Mapping[str, str | None]
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
        "errors": list(answers.flushes.values()),
    }
    with connection.transaction():
        if answers.gone:
            connection.execute(statement("flush_forget"), {**values, "ids": list(answers.gone)})
            connection.execute(statement("flush_confirm"), {**values, "ids": list(answers.gone)})
        if answers.newer:
            connection.execute(statement("flush_supersede"), {"ids": list(answers.newer)})
        if answers.failed:
            connection.execute(statement("flush_postpone"), {**values, "ids": list(answers.failed)})
        if answers.flushes:
            connection.execute(statement("flush_node_write"), values)
            connection.execute(statement("flush_finish"), values)


def hide_bindings(connection: Connection, records: Sequence[int]) -> None:
    """Let rows show no more unless they register again; in batches, in autocommit mode.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        records: ids of `Binding`s.
    """
    for start in range(0, len(records), BATCH_ROWS):
        connection.execute(statement("flush_hide"), {"ids": list(records[start : start + BATCH_ROWS])})


def hide_rewritten(connection: Connection, gone: Sequence[int]) -> None:
    """Go on hiding rows that usrloc's timer wrote anew while their flush was under way (db_mode 2)."""
    rewritten = connection.execute(statement("flush_rewritten"), {"ids": list(gone)}).fetchall()
    hide_bindings(connection, [row[0] for row in rewritten])


def count_pending(connection: Connection, flush_id: str) -> int:
    """How many bindings of a flush their own node has not confirmed yet."""
    row = connection.execute(statement("flush_pending"), {"flush_id": flush_id}).fetchone()
    return row[0] if row else 0


def find_due(
    connection: Connection, nodes: NodeSet, node: int, *, limit: int, flush_id: str | None = None
) -> list[Binding]:
    """What a node is to be asked about now, longest waiting first; or what is left of one flush, due or not."""
    with connection.cursor(row_factory=class_row(Binding)) as cursor:
        return cursor.execute(
            statement("flush_due"),
            {
                "node": node,
                "nodes": list(nodes.ids),
                "replicated": nodes.replicated,
                "limit": limit,
                "flush_id": flush_id,
            },
        ).fetchall()


def delete_left_rows(connection: Connection, records: Sequence[int]) -> int:
    """Delete rows that stayed although no node has their binding any more; returns how many.

    In batches, and what a Kamailio statement holds at this moment is left: no SIP worker waits.
    """
    return sum(
        connection.execute(statement("flush_rows_delete"), {"ids": list(records[start : start + BATCH_ROWS])}).rowcount
        for start in range(0, len(records), BATCH_ROWS)
    )


def remove_rows(connection: Connection, records: Sequence[int]) -> set[int]:
    """Remove bindings that live in their rows alone (db_mode 3), unless they registered since; returns those that did.

    PostgreSQL compares and deletes in one step. Kamailio does it in several, and a REGISTER comes in between.
    """
    newer: set[int] = set()
    for start in range(0, len(records), BATCH_ROWS):
        values = {"ids": list(records[start : start + BATCH_ROWS])}
        connection.execute(statement("flush_rows_remove"), values)
        newer.update(row[0] for row in connection.execute(statement("flush_rows_newer"), values))
    return newer


def expire_flushes(connection: Connection, *, keep: float, limit: int) -> int:
    """Forget bindings that would have expired by themselves, and flushes finished more than ``keep`` seconds ago.

    Returns:
        How many flushes were deleted.
    """
    return connection.execute(statement("flush_expire"), {"keep": keep, "limit": limit}).rowcount
