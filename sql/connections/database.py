"""Connections to PostgreSQL. Each has a connect timeout, a statement timeout and a name in pg_stat_activity."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from select import POLLIN, poll
from time import monotonic
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg_pool

from sql.connections.bounded import BoundedConnection, Connection
from sql.connections.pooler import refuse_shared_sessions
from sql.connections.writability import refuse_read_only
from sql.errors import DatabaseUnreachable, translated
from sql.settings import DatabaseSettings
from sql.statements import statement

__all__ = ["Connection", "Database", "connect", "open_connection"]

# How long after the statement timeout the client gives up. By then the server is frozen or unreachable.
ANSWER_GRACE_SECONDS = 2.0
# How long a pool keeps read-only sessions. New ones may reach the new primary, or be writable.
READ_ONLY_SECONDS = 5.0


def _parameters(settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
    return {
        "application_name": application_name,
        "connect_timeout": settings.database_connect_timeout,
        "autocommit": True,
        # The kernel notices within about half a minute that a host vanished.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def _limit(connection: BoundedConnection, seconds: float) -> None:
    connection.answer_timeout = seconds + ANSWER_GRACE_SECONDS
    connection.execute(statement("session_isolation"))
    connection.execute(statement("session_limit"), {"milliseconds": str(int(seconds * 1000))})


def open_connection(settings: DatabaseSettings, *, application_name: str) -> BoundedConnection:
    """Open one connection in autocommit mode. The caller closes it.

    Raises:
        DatabaseUnreachable: nothing answers at the URL, or the server refuses for now.
        StatementFailed: the URL, the user or the password is wrong.
        SessionShared: a pooler lends sessions for a transaction only.
    """
    with translated(), ExitStack() as on_failure:
        connection = BoundedConnection.connect(settings.database_url, **_parameters(settings, application_name))
        on_failure.callback(connection.close)
        _require_own_session(connection, settings, application_name)
        _limit(connection, settings.database_statement_timeout)
        on_failure.pop_all()
        return connection


def _require_own_session(connection: BoundedConnection, settings: DatabaseSettings, application_name: str) -> None:
    """Compare the connection with a second one, which is closed again. If there can be no second one, nothing is known.

    Call this before anything is set in the session: a pooler would lend it to others with our settings.

    Raises:
        SessionShared: a pooler lends sessions for a transaction only.
    """
    connection.answer_timeout = settings.database_statement_timeout + ANSWER_GRACE_SECONDS
    with suppress(psycopg.OperationalError):
        parameters = _parameters(settings, application_name)
        with BoundedConnection.connect(settings.database_url, **parameters) as other:
            other.answer_timeout = settings.database_connect_timeout
            refuse_shared_sessions(connection, other)


def _check(connection: BoundedConnection) -> None:
    """Check an idle connection only if the server sent something, which is nearly always that it ends the session.

    A check costs a round trip. If a host vanished, it would take as long to fail as the next statement.
    """
    idle = poll()
    idle.register(connection.fileno(), POLLIN)
    if idle.poll(0):
        psycopg_pool.ConnectionPool.check_connection(connection)


@contextmanager
def connect(
    settings: DatabaseSettings, *, application_name: str, bounded: bool = False, writes: bool = False
) -> Iterator[Connection]:
    """Lend one connection in autocommit mode to a command.

    Args:
        settings: which database, and the time limits.
        application_name: for pg_stat_activity.
        bounded: give up a server that does not answer in time. Otherwise a statement may take any time.
        writes: refuse a read-only server first.

    Raises:
        DatabaseUnreachable: no connection could be had, or it broke; or the server is read-only and ``writes`` is set.
        StatementFailed: PostgreSQL refused the login or a statement.
        SessionShared: a pooler lends sessions for a transaction only.
    """
    with open_connection(settings, application_name=application_name) as connection, translated():
        if writes:
            refuse_read_only(connection)
        if not bounded:
            connection.answer_timeout = None
        yield connection


class Database:
    """A pool of connections to one database. It opens when first used, and is safe to share between threads."""

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        application_name: str,
        pool_size: int,
        statement_timeout: float | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            settings: which database, and the time limits.
            application_name: for pg_stat_activity.
            pool_size: maximum of connections.
            statement_timeout: seconds; the setting's by default.
        """
        limit = statement_timeout or settings.database_statement_timeout
        self._away = False
        self._own_sessions = False
        self._probe = threading.Lock()
        self._renewed = monotonic()

        def configure(connection: BoundedConnection) -> None:
            if not self._own_sessions:  # checked once, when the database is first reached
                _require_own_session(connection, settings, application_name)
                self._own_sessions = True
            _limit(connection, limit)

        def check(connection: BoundedConnection) -> None:
            try:
                _check(connection)
            except psycopg.Error:
                # The others ended, too, by a restart or idle_session_timeout. The pool would find that out one by one
                # with growing pauses, and the caller would get the error that PostgreSQL is away.
                self._pool.drain()
                raise

        self._pool = psycopg_pool.ConnectionPool(
            settings.database_url,
            connection_class=BoundedConnection,
            kwargs=_parameters(settings, application_name),
            min_size=0,
            max_size=pool_size,
            timeout=settings.database_connect_timeout,
            # Give up a failed attempt soon, and let the next caller make a new one. With the pool's growing pauses it
            # would be unusable long after PostgreSQL is back.
            reconnect_timeout=settings.database_connect_timeout,
            configure=configure,
            check=check,
            open=False,
        )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection in autocommit mode. For several statements that belong together use ``transaction()``.

        Raises:
            DatabaseUnreachable: no connection could be had, or it broke.
            StatementFailed: PostgreSQL refused a statement.
        """
        with translated(), self._unless_known_away():
            self._pool.open()
            with self._pool.connection() as connection:
                self._away = False
                try:
                    yield connection
                except psycopg.errors.ReadOnlySqlTransaction:
                    connection.close()  # a new one may reach the new primary
                    raise
                self._renew_read_only(connection)

    def _renew_read_only(self, connection: BoundedConnection) -> None:
        """Replace all sessions if they are read-only and some seconds old."""
        if not connection.closed and connection.is_read_only() and monotonic() > self._renewed + READ_ONLY_SECONDS:
            self._renewed = monotonic()
            self._pool.drain()

    @contextmanager
    def _unless_known_away(self) -> Iterator[None]:
        """While PostgreSQL is away, one caller at a time waits for it. The others fail at once."""
        probes = self._away and self._probe.acquire(blocking=False)
        if self._away and not probes:
            raise DatabaseUnreachable("PostgreSQL was away a moment ago")
        try:
            yield
        except psycopg_pool.PoolTimeout:
            self._away = not self._pool.get_stats().get("pool_size")  # otherwise all of them are lent
            raise
        finally:
            if probes:
                self._probe.release()

    def occupancy(self) -> dict[str, int]:
        """The number of connections that are lent and idle, and of callers that wait for one."""
        stats = self._pool.get_stats()
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        return {"lent": size - idle, "idle": idle, "awaited": stats.get("requests_waiting", 0)}

    def close(self) -> None:
        """Close every connection; a lent one when it is returned."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
