"""Setting account, device and owner on the rows of location, in batches that no SIP worker has to wait for."""

from dataclasses import dataclass
from threading import Event

from sql.connections import Connection
from sql.statements import statement

# Rows that are compared with the directory at a time.
SLICE_ROWS = 5000
# Of rows that lie beside each other one in so many is written at a time: the new versions find room in their page, so
# that no index is written, and by the next turn PostgreSQL may clear the old ones away.
TURNS = 8


@dataclass(frozen=True, slots=True)
class Enriched:
    """How many rows were enriched, and the highest id among them; 0 when there were none."""

    count: int
    last: int


def enrich_pending(connection: Connection, *, limit: int, after: int = 0) -> Enriched:
    """Enrich rows that no run has seen yet.

    Args:
        connection: in autocommit mode, so that the rows' locks end with the statement.
        limit: rows at the most.
        after: id below which nothing is looked for, so that a batch need not pass by what the ones before it left.

    Returns:
        What was enriched; fewer than ``limit`` means that none are left but those in use at this moment.
    """
    rows = connection.execute(statement("enrich_pending"), {"limit": limit, "after": after}).fetchall()
    return Enriched(len(rows), max((row[0] for row in rows), default=0))


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many rows were set right, and how many of them had a binding that may not be there any more."""

    written: int
    flushed: int


def reconcile(connection: Connection, *, batch: int = 200, stopping: Event | None = None) -> Reconciled:
    """Set every row right of which the directory now says something else, and ask for the flushes that follow from it.

    A device that was disabled, deleted, renamed or moved, or has another password, is flushed: the statement says
    which change is which. A new owner is no reason, the phone is the same; its row is only enriched anew.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        batch: rows that are locked at a time.
        stopping: ends it between two batches.
    """
    stopping = stopping or Event()
    written = flushed = after = 0
    while not stopping.is_set() and (found := find_stale(connection, after=after)) is not None:
        after, stale = found
        for turn in (stale[start::TURNS] for start in range(TURNS)):
            for start in range(0, len(turn), batch):
                if stopping.is_set():
                    return Reconciled(written, flushed)
                done = reconcile_rows(connection, turn[start : start + batch])
                written += done.written
                flushed += done.flushed
    return Reconciled(written, flushed)


def find_stale(connection: Connection, *, after: int) -> tuple[int, list[int]] | None:
    """Compare the next slice of rows with the directory; it locks nothing.

    Args:
        connection: in autocommit mode.
        after: id of the last row that was compared; 0 at first.

    Returns:
        The id of the slice's last row, and the ids of those enriched rows of which the directory now says something
        else; None when there is no row after that one.
    """
    row = connection.execute(statement("reconcile_find"), {"after": after, "limit": SLICE_ROWS}).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


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


def expire_from_facts(connection: Connection) -> int:
    """Delete the third-party From facts of bindings that are gone; returns how many."""
    return connection.execute(statement("expire_from")).rowcount
