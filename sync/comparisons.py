"""When all rows are compared with the directory: after each change of it, and now and then without one."""

from time import monotonic

from sql.connections.database import Connection
from sql.directory.changes import find_directory_state, is_change_open

# A comparison that takes less than this is made at each interval. A longer one is made after a change. Without a change
# it takes this share of the time at most, and is made at least every LONGEST_REST_SECONDS: then it finds what no
# trigger counts, such as an UPDATE of location by hand.
SHORT_SECONDS = 1.0
IDLE_SHARE = 0.05
LONGEST_REST_SECONDS = 900.0
# A statement that began before a change may write what the directory said then. It has ended by the second comparison.
COMPARISONS_A_CHANGE = 2


class Comparisons:
    """Tells whether the next comparison is due. Not to be shared between threads."""

    def __init__(self) -> None:
        self._state: str | None = None
        self._to_make = COMPARISONS_A_CHANGE
        self._seconds = 0.0
        self._ended = 0.0

    def is_due(self, connection: Connection) -> bool:
        """Look at the directory; to be called right before a comparison."""
        state = find_directory_state(connection)
        if state is None or state != self._state or is_change_open(connection):
            self._state, self._to_make = state, COMPARISONS_A_CHANGE
        rest = min(self._seconds / IDLE_SHARE, LONGEST_REST_SECONDS) if self._seconds > SHORT_SECONDS else 0.0
        return self._to_make > 0 or monotonic() >= self._ended + rest

    def made(self, *, complete: bool, seconds: float) -> None:
        """Note a comparison.

        Args:
            complete: no row was left that differed.
            seconds: how long it took.
        """
        self._to_make = max(0, self._to_make - 1) if complete else max(1, self._to_make)
        self._seconds, self._ended = seconds, monotonic()
