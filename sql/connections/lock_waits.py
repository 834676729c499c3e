"""Waits for locks beside a live proxy: each time only for an instant, and reports who holds them."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import sleep
from typing import Any

import psycopg

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.statements import fetch_row, statement

LOCK_ATTEMPTS = 200
LOCK_PAUSE_SECONDS = 0.1
SILENT_SECONDS = 1.0


def lock_out_others(connection: Connection, *, report: Callable[[str], None]) -> None:
    """Wait until no other session changes the schema. Then none can until this connection ends.

    Any login can take that advisory lock, and a pooler can keep a session that has it. So the holder is reported.
    """
    told: set[str] = set()
    while True:
        is_ours, key = fetch_row(connection, "lock_migrations")
        if is_ours:
            return
        holders = _holders(connection, key=key)
        if holders.keys() - told:
            report(
                f"waiting for the lock on migrations of this database, held by {_written(holders)}; if that is "
                "no migration, end it by `select pg_terminate_backend(...)` with its process"
            )
        told |= holders.keys()
        sleep(LOCK_PAUSE_SECONDS)


def _holders(connection: psycopg.Connection[Any], *, key: int | None = None, pid: int | None = None) -> dict[str, str]:
    """The sessions that hold that advisory lock, or what a process waits for, or otherwise tables of the schema."""
    return dict(connection.execute(statement("lock_holders"), {"key": key, "pid": pid}).fetchall())


def _written(holders: dict[str, str]) -> str:
    return ", ".join(f"{name} ({facts})" for name, facts in holders.items())


@contextmanager
def _telling_waits(connection: Connection, *, name: str, report: Callable[[str], None]) -> Iterator[None]:
    """Report whom the session waits for while it has no lock_timeout, as for transactions older than an index build.

    It asks over a second connection, opened after one second. If there can be none, it reports nothing.
    """
    info, ended = connection.info, Event()

    def watch() -> None:
        told: set[str] = set()
        if ended.wait(SILENT_SECONDS):
            return
        with suppress(psycopg.Error), psycopg.connect(info.dsn, password=info.password, autocommit=True) as other:
            while not ended.wait(SILENT_SECONDS):
                holders = _holders(other, pid=info.backend_pid)
                if holders.keys() - told:
                    report(f"{name}: waiting for {_written(holders)}")
                told |= holders.keys()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join(SILENT_SECONDS)


def in_a_gap(connection: Connection, change: Callable[[], None], *, name: str, report: Callable[[str], None]) -> None:
    """Change the schema beside a live proxy. If a lock is not free within an instant, start again.

    Args:
        connection: in autocommit mode; its time limits are changed.
        change: the work, in its own transaction or safe to repeat.
        name: of the change, for messages.
        report: called with a line that names who uses a table, and again if others do.

    Raises:
        SchemaRefused: PostgreSQL refuses it, or a table is locked by another session for too long.
    """
    told: set[str] = set()
    for attempt in itertools.count(1):
        try:
            connection.execute(statement("lock_limits"))
            with _telling_waits(connection, name=name, report=report):
                change()
            return
        except psycopg.errors.LockNotAvailable as error:
            holders = _holders(connection)
            by = f" by {_written(holders)}" if holders else ""
            if attempt == LOCK_ATTEMPTS:
                raise SchemaRefused(
                    f"{name}: a table is locked{by} for too long; end that session, then try again"
                ) from error
            if attempt == 1 or holders.keys() - told:
                report(f"{name}: a table is in use{by}; waiting for a gap between transactions")
            told |= holders.keys()
            sleep(LOCK_PAUSE_SECONDS)
        except psycopg.errors.InsufficientPrivilege as error:
            raise SchemaRefused(
                f"{name}: {error.diag.message_primary}; migrate as the owner of Kamailio's tables, with CREATEROLE"
            ) from error
        except psycopg.OperationalError:
            raise  # the caller turns it into DatabaseUnreachable
        except psycopg.Error as error:
            detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
            raise SchemaRefused(f"{name}: {error.diag.message_primary or error}{detail}") from error
