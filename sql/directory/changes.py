"""Whether the directory has changed, by what triggers of its tables have counted."""

from sql.connections.database import Connection
from sql.statements import statement


def find_directory_state(connection: Connection) -> str | None:
    """A text that is another after each change of the directory; None where nobody counts them, see the statement."""
    row = connection.execute(statement("directory_state")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has a row
    state: str | None = row[0]
    return state


def is_change_open(connection: Connection) -> bool:
    """Whether a transaction is open that has changed the directory: its change is counted, but not to be seen yet."""
    row = connection.execute(statement("directory_change_open")).fetchone()
    return bool(row and row[0])
