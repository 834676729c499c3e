"""How many rows a statement takes at a time, so that it ends soon on any machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

# Kamailio waits for rows that a statement has locked. On most servers the kernel preempts a busy process after a time
# slice of 3 to 4 ms, whatever its priority; a statement that ends sooner is not noticed. One that writes takes longer
# to start.
READING_SECONDS = 0.001
WRITING_SECONDS = 0.002
FIRST_ROWS = 10
# With fewer, the start of the statement costs more than its rows.
LEAST_ROWS = 5
# Maximum factor by which one statement changes the size.
STEP = 2.0


class BatchSize:
    """Rows to take at a time, more or fewer by how long the last ones took."""

    def __init__(self, aim: float, *, most: int) -> None:
        """Begin with few.

        Args:
            aim: seconds that a statement should take.
            most: maximum of rows, however fast they are; it may be below `LEAST_ROWS`.
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
        """Time a statement that takes this many rows. Do not use it when the statement found fewer."""
        started = perf_counter()
        yield
        change = (self._aim / (perf_counter() - started)) ** 0.5
        rows = self._rows * min(STEP, max(1 / STEP, change))
        self._rows = min(self._most, max(LEAST_ROWS, rows))
