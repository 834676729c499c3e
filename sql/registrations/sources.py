"""What a REGISTER said that usrloc does not store: where it came from, and the From of a third party."""

from collections.abc import Collection
from threading import Event
from typing import Protocol

from sql.batch_size import READING_SECONDS, Pace
from sql.connections.database import Connection
from sql.statements import statement

SLICE_ROWS = 5000


class Source(Protocol):
    """Of one binding; what is not known, or not different, is None.

    Attributes:
        ruid: of the binding.
        source: URI of where the REGISTER came from.
        from_user: of its From.
        from_host: likewise.
    """

    @property
    def ruid(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str | None: ...  # noqa: D102
    @property
    def from_user(self) -> str | None: ...  # noqa: D102
    @property
    def from_host(self) -> str | None: ...  # noqa: D102


def write_sources(connection: Connection, sources: Collection[Source], *, age: float) -> int:
    """Write what is not known already, in one statement; of a binding of which nothing is said the row goes.

    Args:
        connection: in autocommit mode.
        sources: one a binding.
        age: seconds since the first of them was fetched; a row that was written since then is newer, and stays.

    Returns:
        How many rows were written or deleted.
    """
    values = {
        "ruids": [each.ruid for each in sources],
        "sources": [each.source for each in sources],
        "from_users": [each.from_user for each in sources],
        "from_hosts": [each.from_host for each in sources],
        "age": age,
    }
    row = connection.execute(statement("sources_write"), values).fetchone()
    return sum(row or ())


def expire_sources(connection: Connection, *, stopping: Event) -> int:
    """Delete what was said of bindings that are gone.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each slice.
        stopping: ends it between two slices.

    Returns:
        How many rows were deleted.
    """
    pace, after, deleted = Pace(READING_SECONDS, most=SLICE_ROWS), "", 0
    while not stopping.is_set():
        with pace.measured():
            values = {"after": after, "limit": pace.rows}
            row = connection.execute(statement("sources_expire"), values).fetchone()
        if row is None or row[0] is None:
            break
        after, deleted = row[0], deleted + row[1]
    return deleted
