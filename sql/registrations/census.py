"""The number of registrations by account, node and transport. Reads slices, so that no statement takes long."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sql.batch_size import READING_SECONDS, BatchSize
from sql.connections.database import Connection
from sql.statements import statement

SLICE_ROWS = 5000  # maximum


@dataclass(frozen=True, slots=True)
class Census:
    """Registrations that lists show. None counts the rows without that value."""

    accounts: Counter[str | None] = field(default_factory=Counter)
    nodes: Counter[int] = field(default_factory=Counter)
    transports: Counter[str | None] = field(default_factory=Counter)


def take_census(connection: Connection, *, stopping: Callable[[], bool] = lambda: False) -> Census | None:
    """Count all rows. A registration that comes or goes meanwhile may or may not be counted.

    Args:
        connection: in autocommit mode.
        stopping: called between two slices; True ends the count.

    Returns:
        None if it was stopped.
    """
    census, size, after = Census(), BatchSize(READING_SECONDS, most=SLICE_ROWS), 0
    while not stopping():
        with size.measured():
            rows = connection.execute(statement("census"), {"after": after, "limit": size.rows}).fetchall()
        if rows[0][0] is None:
            return census
        after = rows[0][0]
        for _, account, node, transport, count in rows:
            if count:
                census.accounts[account] += count
                census.nodes[node] += count
                census.transports[transport] += count
    return None
