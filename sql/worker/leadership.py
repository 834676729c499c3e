"""Which of several workers leads: the one whose session the table `leader` names. It has a connection for this."""

from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic

from psycopg.rows import class_row

from sql.connections.bounded import BoundedConnection, Connection
from sql.connections.database import open_connection
from sql.connections.writability import refuse_read_only
from sql.errors import DatabaseBusy, DatabaseError, translated
from sql.schema.record import require_current_schema
from sql.settings import DatabaseSettings
from sql.statements import statement

# The view leading_session looks for this name.
APPLICATION_NAME = "registrations-sync leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leader:
    """The last leader: its term, whether its session is alive and ours, and when that was last used, as a text."""

    term: int
    lives: bool
    is_us: bool
    heard: str | None


class Leadership:
    """Leadership lasts while its session is alive and used. Otherwise another worker takes it, after ``patience``.

    It needs a session, so a pooler must be in session mode. Not safe to share between threads.
    """

    def __init__(self, settings: DatabaseSettings, *, patience: float) -> None:
        """Connect to nothing yet.

        Args:
            settings: which database.
            patience: seconds without a sign of life after which the leading session counts as frozen.
        """
        self._settings = settings
        self._patience = patience
        self._connection: BoundedConnection | None = None
        self._seen: _Leader | None = None
        self._seen_first = 0.0

    def hold(self) -> bool:
        """Take the lead if nobody has it, and make sure that it is still ours. Each call is a sign of life.

        Raises:
            DatabaseBusy: PostgreSQL cancelled a statement; who leads is unknown until the next call.
            DatabaseUnreachable: PostgreSQL is away or read-only, and the lead, if we had it, is lost.
            SchemaStale: the database lacks migrations. Each new connection looks: after an outage another database
                may have come back.
        """
        try:
            with translated():
                connection = self._connection or self._connect()
                leader = self._find(connection)
                if connection.is_read_only():
                    refuse_read_only(connection)
                if leader is None or not (leader.is_us or self._is_alive(leader)):
                    connection.execute(statement("leader_take"), {"term": leader and leader.term})
                    leader = self._find(connection)
        except DatabaseBusy:
            raise
        except DatabaseError:
            self.release()
            raise
        return leader is not None and leader.is_us

    def _connect(self) -> BoundedConnection:
        with ExitStack() as on_failure:
            connection = open_connection(self._settings, application_name=APPLICATION_NAME)
            on_failure.callback(connection.close)
            require_current_schema(connection)
            on_failure.pop_all()
        self._connection = connection  # only now: a connection that is kept has passed the check
        return connection

    def _find(self, connection: Connection) -> _Leader | None:
        with connection.cursor(row_factory=class_row(_Leader)) as cursor:
            return cursor.execute(statement("leader_find")).fetchone()

    def _is_alive(self, leader: _Leader) -> bool:
        """Measures the silence by our own clock, since PostgreSQL's may be set back."""
        now = monotonic()
        if leader.heard is None or leader != self._seen:
            self._seen, self._seen_first = leader, now
        return leader.lives and now - self._seen_first <= self._patience

    def release(self) -> None:
        """Let another worker lead. :meth:`hold` may take the lead back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
