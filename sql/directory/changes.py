"""Whether the directory has changed, by what triggers of its tables have counted."""

from sql.connections.database import Connection
from sql.statements import fetch_row


def find_directory_state(connection: Connection) -> str | None:
    """A text that is another after each change of the directory; None where nobody counts them, see the statement."""
    (state,) = fetch_row(connection, "directory_state")
    return state  # type: ignore[no-any-return]


def is_change_open(connection: Connection) -> bool:
    """Whether a transaction is open that has changed the directory: its change is counted, but not to be seen yet."""
    return bool(fetch_row(connection, "directory_change_open")[0])
