"""Which of several workers leads: the one that holds an advisory lock, on a connection of its own."""

from sql.connections import Connection, open_connection
from sql.errors import DatabaseUnreachable, translated
from sql.settings import DatabaseSettings
from sql.statements import statement


class Leadership:
    """Held for as long as its connection lives; PostgreSQL gives it to another as soon as that ends.

    It needs a session, so a pooler between must be in session mode. Not to be shared between threads.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._held = False

    def hold(self) -> bool:
        """Take the lead if nobody has it, and make sure that it is still ours.

        Raises:
            DatabaseUnreachable: PostgreSQL is away, and the lead, if we had it, is lost.
        """
        try:
            with translated():
                if self._connection is None:
                    self._connection = open_connection(self._settings, application_name="registrations-sync leader")
                if self._held:
                    self._connection.execute(statement("leader_alive"))
                else:
                    row = self._connection.execute(statement("leader_take")).fetchone()
                    self._held = bool(row and row[0])
        except DatabaseUnreachable:
            self.release()
            raise
        return self._held

    def release(self) -> None:
        """Let another worker lead; :meth:`hold` may take it back."""
        connection, self._connection, self._held = self._connection, None, False
        if connection is not None:
            connection.close()
