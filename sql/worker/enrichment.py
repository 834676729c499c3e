"""Setting account, device and owner on the rows of location, in batches that no SIP worker has to wait for."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

from sql.batch_size import READING_SECONDS, WRITING_SECONDS, Pace
from sql.connections.database import Connection
from sql.statements import statement

# Rows that are compared with the directory before those that differ are written.
SLICE_ROWS = 5000
# Of rows that lie beside each other one in so many is written at a time: the new versions find room in their page, so
# that no index is written, and by the next turn PostgreSQL may clear the old ones away.
TURNS = 8


def enrich(connection: Connection, *, batch: int = 200, stopping: Event | None = None) -> int:
    """Enrich the rows that no run has seen yet, but for those in use at this moment.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        batch: rows at the most that are locked at a time.
        stopping: ends it between two batches.

    Returns:
        How many were enriched.
    """
    stopping, pace, enriched, after = stopping or Event(), Pace(WRITING_SECONDS, most=batch), 0, 0
    while not stopping.is_set():
        limit = pace.rows
        with pace.measured():
            ids = enrich_pending(connection, limit=limit, after=after)
        enriched += len(ids)
        if len(ids) < limit:
            break
        after = max(ids)
    return enriched


def enrich_pending(connection: Connection, *, limit: int, after: int = 0) -> list[int]:
    """Enrich rows that no run has seen yet.

    Args:
        connection: in autocommit mode, so that the rows' locks end with the statement.
        limit: rows at the most.
        after: id below which nothing is looked for, so that a batch need not pass by what the ones before it left.

    Returns:
        Their ids; fewer than ``limit`` mean that none are left but those in use at this moment.
    """
    return [row[0] for row in connection.execute(statement("enrich_pending"), {"limit": limit, "after": after})]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many rows were set right, how many of them had a binding that may not be there any more, how many are left.

    Left are those in use at that moment, and one more when it was stopped before its end.
    """

    written: int
    flushed: int
    left: int = 0


def find_directory_state(connection: Connection) -> str | None:
    """A text that is another when the directory may have changed; None where PostgreSQL cannot tell.

    A change shows when the session that made it has ended, or some ten seconds after it became idle: PostgreSQL counts
    what a session reports, and one in a transaction reports nothing (pgstat_report_stat).
    """
    row = connection.execute(statement("directory_state")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has a row
    state: str | None = row[0]
    return state


def reconcile(connection: Connection, *, batch: int = 200, stopping: Event | None = None) -> Reconciled:
    """Set every row right of which the directory now says something else, and ask for the flushes that follow from it.

    A device that was disabled, deleted, renamed or moved, or has another password, is flushed: the statement says
    which change is which. A new owner is no reason, the phone is the same; its row is only enriched anew.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        batch: rows at the most that are locked at a time.
        stopping: ends it between two statements.
    """
    stopping, pace = stopping or Event(), Pace(WRITING_SECONDS, most=batch)
    written = flushed = left = 0
    for stale in _stale_slices(connection, stopping):
        in_turns = [row for start in range(TURNS) for row in stale[start::TURNS]]
        while in_turns and not stopping.is_set():
            taken, in_turns = in_turns[: pace.rows], in_turns[pace.rows :]
            with pace.measured():
                done = reconcile_rows(connection, taken)
            written += done.written
            flushed += done.flushed
            left += len(taken) - done.written
    return Reconciled(written, flushed, left + stopping.is_set())


def _stale_slices(connection: Connection, stopping: Event) -> Iterator[list[int]]:
    """Compare all rows; of SLICE_ROWS each those that differ."""
    pace, stale, looked, after = Pace(READING_SECONDS, most=SLICE_ROWS), list[int](), 0, 0
    while not stopping.is_set():
        limit = pace.rows
        with pace.measured():
            last, differing = find_stale(connection, after=after, limit=limit)
        if last is None:
            break
        after, looked = last, looked + limit
        stale += differing
        if looked >= SLICE_ROWS:
            yield stale
            stale, looked = [], 0
    yield stale


def find_stale(connection: Connection, *, after: int, limit: int) -> tuple[int | None, list[int]]:
    """Compare the next rows with the directory; it locks nothing.

    Args:
        connection: in autocommit mode.
        after: id of the last row that was compared; 0 at first.
        limit: rows to compare.

    Returns:
        The id of the last of them, None when there is no row after that one, and the ids of those enriched rows of
        which the directory now says something else.
    """
    row = connection.execute(statement("reconcile_find"), {"after": after, "limit": limit}).fetchone()
    return (None, []) if row is None else (row[0], row[1] or [])


def reconcile_rows(connection: Connection, ids: list[int]) -> Reconciled:
    """Set these rows to what the directory says; those in use at this moment are left for the next run."""
    row = connection.execute(statement("reconcile_write"), {"ids": ids}).fetchone()
    return Reconciled(row[0], row[1]) if row else Reconciled(0, 0)


def expire_rows(connection: Connection, *, grace: float, limit: int) -> int:
    """Delete rows that expired more than ``grace`` seconds ago and that no Kamailio removed; see the statement.

    Returns:
        How many were deleted.
    """
    return connection.execute(statement("expire_rows"), {"grace": grace, "limit": limit}).rowcount
