"""Which of several workers leads: the one whose session the table `leader` names, on a connection of its own."""

from dataclasses import dataclass
from time import monotonic

from psycopg.rows import class_row

from sql.connections.bounded import BoundedConnection, Connection
from sql.connections.database import open_connection
from sql.connections.writability import refuse_read_only
from sql.errors import DatabaseError, translated
from sql.schema.migrate import require_current_schema
from sql.settings import DatabaseSettings
from sql.statements import statement

# The view leading_session looks for this name.
APPLICATION_NAME = "registrations-sync leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leader:
    """Who led last: in which term, whether his session lives and is this one, and when it was used, as a text."""

    term: int
    lives: bool
    is_us: bool
    heard: str | None


class Leadership:
    """Held while its session lives and is used; as soon as it ends, or is silent for ``patience``, another may take it.

    It needs a session, so a pooler between must be in session mode. Not to be shared between threads.
    """

    def __init__(self, settings: DatabaseSettings, *, patience: float) -> None:
        """Connect to nothing yet.

        Args:
            settings: which database.
            patience: seconds without a sign of life from the session that leads, after which it is taken for frozen.
        """
        self._settings = settings
        self._patience = patience
        self._connection: BoundedConnection | None = None
        self._seen: _Leader | None = None
        self._seen_first = 0.0

    def hold(self) -> bool:
        """Take the lead if nobody has it, and make sure that it is still ours. Each call is a sign of life.

        Raises:
            DatabaseUnreachable: PostgreSQL is away or read-only, and the lead, if we had it, is lost.
            SchemaStale: the database lacks migrations. It is looked at with each new connection: after an outage
                another database may have come back.
        """
        try:
            with translated():
                if self._connection is None:
                    self._connection = open_connection(self._settings, application_name=APPLICATION_NAME)
                    require_current_schema(self._connection)
                leader = self._find(self._connection)
                if self._connection.is_read_only():
                    refuse_read_only(self._connection)
                if leader is None or not (leader.is_us or self._is_alive(leader)):
                    self._connection.execute(statement("leader_take"), {"term": leader and leader.term})
                    leader = self._find(self._connection)
        except DatabaseError:
            self.release()
            raise
        return leader is not None and leader.is_us

    def _find(self, connection: Connection) -> _Leader | None:
        with connection.cursor(row_factory=class_row(_Leader)) as cursor:
            return cursor.execute(statement("leader_find")).fetchone()

    def _is_alive(self, leader: _Leader) -> bool:
        """Silence is measured here: PostgreSQL's clock may be set back, and then says nothing for as long."""
        now = monotonic()
        if leader.heard is None or leader != self._seen:
            self._seen, self._seen_first = leader, now
        return leader.lives and now - self._seen_first <= self._patience

    def release(self) -> None:
        """Let another worker lead; :meth:`hold` may take it back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
