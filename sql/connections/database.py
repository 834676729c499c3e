"""Connections to PostgreSQL: each has a connect timeout, a statement timeout and a name in pg_stat_activity."""

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

# How long after PostgreSQL's own limit for a statement the client gives up: then the server is frozen or unreachable.
ANSWER_GRACE_SECONDS = 2.0
# How long a pool uses sessions that are read-only. New ones may reach the new primary, or be writable.
READ_ONLY_SECONDS = 5.0


def _parameters(settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
    return {
        "application_name": application_name,
        "connect_timeout": settings.database_connect_timeout,
        "autocommit": True,
        # A host that vanished without a word is noticed by the kernel, within about half a minute.
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
    """Open one connection in autocommit mode, to be closed by the caller.

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
    """Compare it with a second connection, which is closed again. Where there can be no second one, nothing is known.

    Nothing is set in the session before: a pooler would lend it to others with our settings.

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
    """Ask a server that has said something since: an idle one has only its end to tell, and asking costs a round trip.

    A host that vanished without a word does not answer this question any sooner than the statement that is to come.
    """
    idle = poll()
    idle.register(connection.fileno(), POLLIN)
    if idle.poll(0):
        psycopg_pool.ConnectionPool.check_connection(connection)


@contextmanager
def connect(
    settings: DatabaseSettings, *, application_name: str, bounded: bool = False, writes: bool = False
) -> Iterator[Connection]:
    """Lend one connection in autocommit mode for a command's life.

    Args:
        settings: which database, and the time limits.
        application_name: for pg_stat_activity.
        bounded: give up a server that does not answer in time; else it is waited for, as long work needs.
        writes: refuse a server that takes no writes, before anything else is done.

    Raises:
        DatabaseUnreachable: no connection could be had, or it broke, or the server is read-only and that is no use.
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
    """A pool of connections to one database, opened when first used and safe to share between threads."""

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
            pool_size: connections at the most.
            statement_timeout: seconds; what the settings say when left out.
        """
        limit = statement_timeout or settings.database_statement_timeout
        self._away = False
        self._own_sessions = False
        self._probe = threading.Lock()
        self._renewed = monotonic()

        def configure(connection: BoundedConnection) -> None:
            if not self._own_sessions:  # looked at once, when the database is first reached
                _require_own_session(connection, settings, application_name)
                self._own_sessions = True
            _limit(connection, limit)

        def check(connection: BoundedConnection) -> None:
            try:
                _check(connection)
            except psycopg.Error:
                # The others ended with it, as in a restart, or by idle_session_timeout. One by one the pool would find
                # that out with growing pauses, and the caller would be told that PostgreSQL is away.
                self._pool.drain()
                raise

        self._pool = psycopg_pool.ConnectionPool(
            settings.database_url,
            connection_class=BoundedConnection,
            kwargs=_parameters(settings, application_name),
            min_size=0,
            max_size=pool_size,
            timeout=settings.database_connect_timeout,
            # A failed attempt is given up soon, and the next caller makes a new one: a pool that went on with
            # growing pauses would be away long after PostgreSQL is back.
            reconnect_timeout=settings.database_connect_timeout,
            configure=configure,
            check=check,
            open=False,
        )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection in autocommit mode; several statements that belong together want ``transaction()``.

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
                    connection.close()  # one that is opened anew may reach the new primary
                    raise
                self._renew_read_only(connection)

    def _renew_read_only(self, connection: BoundedConnection) -> None:
        """Have all sessions opened anew when they are read-only and were opened a while ago."""
        if not connection.closed and connection.is_read_only() and monotonic() > self._renewed + READ_ONLY_SECONDS:
            self._renewed = monotonic()
            self._pool.drain()

    @contextmanager
    def _unless_known_away(self) -> Iterator[None]:
        """While PostgreSQL is away one caller at a time waits for it; the others are told at once."""
        probes = self._away and self._probe.acquire(blocking=False)
        if self._away and not probes:
            raise DatabaseUnreachable("PostgreSQL was away a moment ago")
        try:
            yield
        except psycopg_pool.PoolTimeout:
            self._away = not self._pool.get_stats().get("pool_size")  # or else all of them are lent
            raise
        finally:
            if probes:
                self._probe.release()

    def occupancy(self) -> dict[str, int]:
        """How many connections are lent and idle, and how many callers wait for one."""
        stats = self._pool.get_stats()
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        return {"lent": size - idle, "idle": idle, "awaited": stats.get("requests_waiting", 0)}

    def close(self) -> None:
        """Close every connection; what is lent is closed when it comes back."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
