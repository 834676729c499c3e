"""Whether PostgreSQL takes writes: a replica, a read-only server and one with a full disk answer reads as ever."""

from time import monotonic

from sql.connections.bounded import Connection
from sql.errors import DatabaseError, DatabaseReadOnly, translated
from sql.statements import statement

# The write costs some milliseconds, and anybody may ask for it.
OUTCOME_SECONDS = 10.0


def find_read_only(connection: Connection) -> str | None:
    """Why the session cannot write, in one clause; None when it can."""
    row = connection.execute(statement("write_state")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has a row
    in_recovery, read_only = row
    if in_recovery:
        return "the server is a replica"
    return "default_transaction_read_only is on" if read_only else None


def refuse_read_only(connection: Connection) -> None:
    """Refuse a session that cannot write.

    Raises:
        DatabaseReadOnly: says why it cannot.
    """
    reason = find_read_only(connection)
    if reason:
        raise DatabaseReadOnly(f"the database is read-only: {reason}")


def try_write(connection: Connection) -> None:
    """Write a megabyte to the database's disk and a commit to the WAL; nothing of it is left behind.

    Args:
        connection: in autocommit mode, of any role.

    Raises:
        DatabaseFull: the disk has no room.
        DatabaseUnreachable: the disk does not work, or PostgreSQL went away.
        StatementFailed: something else is wrong with the disk, such as a quota.
    """
    with translated(), connection.transaction():
        connection.execute(statement("write_limits"))
        connection.execute(statement("write_probe"))


class Writability:
    """Looks at the session each time, and writes when the last attempt is older than OUTCOME_SECONDS."""

    def __init__(self) -> None:
        self._due = 0.0
        self._error: DatabaseError | None = None

    def require(self, connection: Connection) -> None:
        """Refuse a session that cannot write, or whose server could not the last time.

        Args:
            connection: in autocommit mode.

        Raises:
            DatabaseReadOnly: the session is read-only.
            DatabaseError: as :func:`try_write` raises.
        """
        refuse_read_only(connection)
        if monotonic() >= self._due:
            self._due = monotonic() + OUTCOME_SECONDS  # before: other threads go by the last outcome meanwhile
            self._error = None
            try:
                try_write(connection)
            except DatabaseError as error:
                self._error = error
                raise
        if self._error:
            raise type(self._error)(str(self._error))
