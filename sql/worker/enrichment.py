"""Sets account, device and owner on the rows of location, in batches so short that no SIP worker waits."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

from sql.batch_size import READING_SECONDS, WRITING_SECONDS, BatchSize
from sql.connections.database import Connection
from sql.statements import fetch_row, statement

# Rows that are compared with the directory before the stale ones are written.
SLICE_ROWS = 5000
# Of adjacent rows, one in TURNS is written at a time. So the new versions find room in their page, which saves writing
# the indexes, and PostgreSQL may remove the old versions before the next turn.
TURNS = 8


def enrich(connection: Connection, *, batch: int = 200, stopping: Event | None = None) -> int:
    """Enrich new rows, except those that are locked.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        batch: maximum of rows locked at a time.
        stopping: ends it between two batches.

    Returns:
        The number of rows enriched.
    """
    stopping, size, enriched, after = stopping or Event(), BatchSize(WRITING_SECONDS, most=batch), 0, 0
    while not stopping.is_set():
        limit = size.rows
        with size.measured():
            ids = enrich_pending(connection, limit=limit, after=after)
        enriched += len(ids)
        if len(ids) < limit:
            break
        after = max(ids)
    return enriched


def enrich_pending(connection: Connection, *, limit: int, after: int = 0) -> list[int]:
    """Enrich one batch of new rows.

    Args:
        connection: in autocommit mode, so that the rows' locks end with the statement.
        limit: maximum of rows.
        after: the lowest id, exclusive, so that a batch need not pass rows that earlier batches skipped.

    Returns:
        Their ids. Fewer than ``limit`` means that none are left except locked ones.
    """
    return [row[0] for row in connection.execute(statement("enrich_pending"), {"limit": limit, "after": after})]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The number of rows corrected, of flushes requested for them, and of rows left.

    Rows are left if they are locked; one more if the run was stopped.
    """

    written: int
    flushed: int
    left: int = 0


def reconcile(connection: Connection, *, batch: int = 200, stopping: Event | None = None) -> Reconciled:
    """Correct every row that no longer agrees with the directory, and request the flushes that follow from it.

    A device that was disabled, deleted, renamed, moved or got another password is flushed. `reconcile_write.sql` has
    the rules. A new owner is no reason for a flush, since the phone is the same.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        batch: maximum of rows locked at a time.
        stopping: ends it between two statements.
    """
    stopping, size = stopping or Event(), BatchSize(WRITING_SECONDS, most=batch)
    written = flushed = left = 0
    for stale in _stale_slices(connection, stopping):
        in_turns = [row for start in range(TURNS) for row in stale[start::TURNS]]
        while in_turns and not stopping.is_set():
            taken, in_turns = in_turns[: size.rows], in_turns[size.rows :]
            with size.measured():
                done = reconcile_rows(connection, taken)
            written += done.written
            flushed += done.flushed
            left += len(taken) - done.written
    return Reconciled(written, flushed, left + stopping.is_set())


def _stale_slices(connection: Connection, stopping: Event) -> Iterator[list[int]]:
    """Compare all rows. Yields the ids of the stale ones among each SLICE_ROWS."""
    size, stale, looked, after = BatchSize(READING_SECONDS, most=SLICE_ROWS), list[int](), 0, 0
    while not stopping.is_set():
        limit = size.rows
        with size.measured():
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
    """Compare the next rows with the directory. Locks nothing.

    Args:
        connection: in autocommit mode.
        after: id of the last row that was compared; 0 at first.
        limit: maximum of rows to compare.

    Returns:
        The id of the last of them, None if there are no more rows; and the ids of the stale ones.
    """
    last, differing = fetch_row(connection, "reconcile_find", {"after": after, "limit": limit})
    return last, differing


def reconcile_rows(connection: Connection, ids: list[int]) -> Reconciled:
    """Set these rows to what the directory says. Skips locked rows until the next run."""
    written, flushed, _ = fetch_row(connection, "reconcile_write", {"ids": ids})
    return Reconciled(written, flushed)


def expire_rows(connection: Connection, *, grace: float, limit: int) -> int:
    """Delete rows that expired more than ``grace`` seconds ago and that no Kamailio removed; see the statement.

    Returns:
        The number of rows deleted.
    """
    return connection.execute(statement("expire_rows"), {"grace": grace, "limit": limit}).rowcount
