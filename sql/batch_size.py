"""How many rows a statement takes at a time, so that it is over soon wherever it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

# A kernel hands a core that is being worked on over when a time slice has passed, 3 to 4 ms on most servers, whatever
# the priorities; and Kamailio waits for the rows that a statement has locked. What is over sooner is not noticed. A
# statement that writes takes longer to start.
READING_SECONDS = 0.001
WRITING_SECONDS = 0.002
FIRST_ROWS = 10
# With fewer the statement's start costs more than its rows.
LEAST_ROWS = 5
# How far one statement that was unusually slow or fast counts.
STEP = 2.0


class Pace:
    """Rows to take at a time, more or fewer by how long the last ones took."""

    def __init__(self, aim: float, *, most: int) -> None:
        """Begin with few.

        Args:
            aim: seconds that a statement should take.
            most: rows, however fast they are; it may be below what is otherwise the least.
        """
        self._aim = aim
        self._most = most
        self._rows = float(min(FIRST_ROWS, most))

    @property
    def rows(self) -> int:
        """For the next statement."""
        return int(self._rows)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Execute a statement with as many rows as it may have; not to be used when it found fewer than that."""
        started = perf_counter()
        yield
        change = (self._aim / (perf_counter() - started)) ** 0.5
        rows = self._rows * min(STEP, max(1 / STEP, change))
        self._rows = min(self._most, max(LEAST_ROWS, rows))
