"""How many registrations there are, by account, node and transport. In slices, so that no statement lasts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sql.batch_size import READING_SECONDS, Pace
from sql.connections.database import Connection
from sql.statements import statement

SLICE_ROWS = 5000  # at the most


@dataclass(frozen=True, slots=True)
class Census:
    """Registrations that show in lists; None stands for what is not known of a row."""

    accounts: Counter[str | None] = field(default_factory=Counter)
    nodes: Counter[int] = field(default_factory=Counter)
    transports: Counter[str | None] = field(default_factory=Counter)


def take_census(connection: Connection, *, stopping: Callable[[], bool] = lambda: False) -> Census | None:
    """Read every row; what registers or goes meanwhile is counted or not.

    Args:
        connection: in autocommit mode.
        stopping: asked between two slices.

    Returns:
        None when it was to stop.
    """
    census, pace, after = Census(), Pace(READING_SECONDS, most=SLICE_ROWS), 0
    while not stopping():
        with pace.measured():
            rows = connection.execute(statement("census"), {"after": after, "limit": pace.rows}).fetchall()
        if rows[0][0] is None:
            return census
        after = rows[0][0]
        for _, account, node, transport, count in rows:
            if count:
                census.accounts[account] += count
                census.nodes[node] += count
                census.transports[transport] += count
    return None
