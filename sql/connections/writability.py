"""Whether PostgreSQL takes writes. A replica, a read-only server and one with a full disk still answer reads."""

from time import monotonic

from sql.connections.bounded import Connection
from sql.errors import DatabaseError, DatabaseReadOnly, translated
from sql.statements import fetch_row, statement

# How long an outcome is valid: the write costs some milliseconds, and anybody may request it.
OUTCOME_SECONDS = 10.0


def find_read_only(connection: Connection) -> str | None:
    """Why the session cannot write, in one clause; None if it can."""
    in_recovery, read_only = fetch_row(connection, "write_state")
    if in_recovery:
        return "the server is a replica"
    return "default_transaction_read_only is on" if read_only else None


def refuse_read_only(connection: Connection) -> None:
    """Refuse a session that cannot write.

    Raises:
        DatabaseReadOnly: says why.
    """
    reason = find_read_only(connection)
    if reason:
        raise DatabaseReadOnly(f"the database is read-only: {reason}")


def try_write(connection: Connection) -> None:
    """Write a megabyte to the database's disk and a commit to the WAL. It leaves nothing behind.

    Args:
        connection: in autocommit mode, of any role.

    Raises:
        DatabaseFull: the disk is full.
        DatabaseUnreachable: the disk failed, or PostgreSQL went away.
        StatementFailed: another problem of the disk, such as a quota.
    """
    with translated(), connection.transaction():
        connection.execute(statement("write_limits"))
        connection.execute(statement("write_probe"))


class Writability:
    """Checks the session each time, and writes if the last attempt is older than OUTCOME_SECONDS."""

    def __init__(self) -> None:
        self._due = 0.0
        self._error: DatabaseError | None = None

    def require(self, connection: Connection) -> None:
        """Refuse a session that cannot write, or whose server failed the last write.

        Args:
            connection: in autocommit mode.

        Raises:
            DatabaseReadOnly: the session is read-only.
            DatabaseError: as :func:`try_write` raises.
        """
        refuse_read_only(connection)
        if monotonic() >= self._due:
            self._due = monotonic() + OUTCOME_SECONDS  # first, so that other threads do not write as well
            self._error = None
            try:
                try_write(connection)
            except DatabaseError as error:
                self._error = error
                raise
        if self._error:
            raise type(self._error)(str(self._error))
