"""Setting account, device and owner on the rows of location, in batches that no SIP worker has to wait for."""

from collections.abc import Callable

from sql.connections import Connection
from sql.statements import statement


def enrich_pending(connection: Connection, *, limit: int) -> int:
    """Enrich rows that no run has seen yet.

    Args:
        connection: in autocommit mode, so that the rows' locks end with the statement.
        limit: rows at the most.

    Returns:
        How many were enriched; fewer than ``limit`` means that none are left but those in use at this moment.
    """
    return connection.execute(statement("enrich_pending"), {"limit": limit}).rowcount


def reconcile(connection: Connection, *, batch: int = 200, stopping: Callable[[], bool] = lambda: False) -> int:
    """Set every row right of which the directory now says something else; returns how many were written.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        batch: rows that are locked at a time.
        stopping: asked between two batches.
    """
    stale, written = find_stale(connection), 0
    for start in range(0, len(stale), batch):
        if stopping():
            break
        written += reconcile_rows(connection, stale[start : start + batch])
    return written


def find_stale(connection: Connection) -> list[int]:
    """Ids of enriched rows of which the directory now says something else; it locks nothing."""
    return [row[0] for row in connection.execute(statement("reconcile_find"))]


def reconcile_rows(connection: Connection, ids: list[int]) -> int:
    """Set these rows to what the directory says; those in use at this moment are left for the next run."""
    return connection.execute(statement("reconcile_write"), {"ids": ids}).rowcount


def expire_rows(connection: Connection, *, grace: float, limit: int) -> int:
    """Delete rows that expired more than ``grace`` seconds ago and that no Kamailio removed; see the statement.

    Returns:
        How many were deleted.
    """
    return connection.execute(statement("expire_rows"), {"grace": grace, "limit": limit}).rowcount


def expire_from_facts(connection: Connection) -> int:
    """Delete the third-party From facts of bindings that are gone; returns how many."""
    return connection.execute(statement("expire_from")).rowcount
