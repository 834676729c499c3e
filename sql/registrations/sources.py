"""Facts about a REGISTER that usrloc does not store: its source address, and the From of a third party."""

from collections.abc import Collection
from threading import Event
from typing import NamedTuple

from sql.batch_size import READING_SECONDS, BatchSize
from sql.connections.database import Connection
from sql.statements import fetch_row

SLICE_ROWS = 5000


class Source(NamedTuple):
    """The facts about one binding. None: unknown, or no third party.

    Attributes:
        ruid: of the binding.
        source: URI of the address that the REGISTER came from.
        from_user: user of its From.
        from_host: host of its From.
    """

    ruid: str
    source: str | None = None
    from_user: str | None = None
    from_host: str | None = None


def write_sources(connection: Connection, sources: Collection[Source], *, age: float) -> int:
    """Write what is new, in one statement. If nothing is known about a binding, its row is deleted.

    Args:
        connection: in autocommit mode.
        sources: one for each binding, and at least one.
        age: seconds since the first was fetched. Rows that were written since then are newer and stay.

    Returns:
        The number of rows written or deleted.
    """
    ruids, received, from_users, from_hosts = map(list, zip(*sources, strict=True))
    values = {"ruids": ruids, "sources": received, "from_users": from_users, "from_hosts": from_hosts, "age": age}
    return sum(fetch_row(connection, "sources_write", values))


def expire_sources(connection: Connection, *, stopping: Event) -> int:
    """Delete the facts about bindings that are gone.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each slice.
        stopping: ends it between two slices.

    Returns:
        The number of rows deleted.
    """
    size, after, deleted = BatchSize(READING_SECONDS, most=SLICE_ROWS), "", 0
    while not stopping.is_set():
        with size.measured():
            values = {"after": after, "limit": size.rows}
            after, count = fetch_row(connection, "sources_expire", values)
        if after is None:
            break
        deleted += count
    return deleted
