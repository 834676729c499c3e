"""Waiting for locks beside a live proxy: for an instant, again and again, and telling who has them."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import sleep
from typing import Any

import psycopg

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.statements import statement

LOCK_ATTEMPTS = 200
LOCK_PAUSE_SECONDS = 0.1
SILENT_SECONDS = 1.0


def lock_out_others(connection: Connection, *, report: Callable[[str], None]) -> None:
    """Wait until no other session changes the schema; from now on none can, until this connection ends.

    Any login can take that lock, and one that a pooler keeps stays: so whoever has it is named.
    """
    told: set[str] = set()
    while True:
        row = connection.execute(statement("migrate_lock")).fetchone()
        assert row is not None  # noqa: S101  # a SELECT without a condition has a row
        is_ours, key = row
        if is_ours:
            return
        holders = _holders(connection, key=key)
        if holders.keys() - told:
            report(
                f"waiting for the lock on migrations of this database, which has {_written(holders)}; if that is "
                "no migration, `select pg_terminate_backend(...)` of its process ends it"
            )
        told |= holders.keys()
        sleep(LOCK_PAUSE_SECONDS)


def _holders(connection: psycopg.Connection[Any], *, key: int | None = None, pid: int | None = None) -> dict[str, str]:
    """Name the sessions that hold that advisory lock, or what a process waits for, or else tables of the schema."""
    return dict(connection.execute(statement("lock_holders"), {"key": key, "pid": pid}).fetchall())


def _written(holders: dict[str, str]) -> str:
    return ", ".join(f"{name} ({facts})" for name, facts in holders.items())


@contextmanager
def _telling_waits(connection: Connection, *, name: str, report: Callable[[str], None]) -> Iterator[None]:
    """Name whom the session waits for where it has patience, as for a transaction that is older than an index.

    By a second connection, opened only if it takes more than a second; where there can be none, nothing is told.
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
    """Change the schema beside a live proxy: a lock is waited for an instant only, then all of it is tried again.

    Args:
        connection: in autocommit; its time limits are changed.
        change: what to do, in a transaction of its own or so that it can be repeated.
        name: what the messages call it.
        report: called with a line when a table is in use, which names who uses it, and again when others do.

    Raises:
        SchemaRefused: PostgreSQL refuses it, or a table is locked by another session for too long.
    """
    told: set[str] = set()
    for attempt in itertools.count(1):
        try:
            connection.execute(statement("migrate_limits"))
            with _telling_waits(connection, name=name, report=report):
                change()
            return
        except psycopg.errors.LockNotAvailable as error:
            holders = _holders(connection)
            by = f" by {_written(holders)}" if holders else ""
            if attempt == LOCK_ATTEMPTS:
                raise SchemaRefused(f"{name}: a table is locked{by} for too long; end that, then try again") from error
            if attempt == 1 or holders.keys() - told:
                report(f"{name}: a table is in use{by}; waiting for a gap between transactions")
            told |= holders.keys()
            sleep(LOCK_PAUSE_SECONDS)
        except psycopg.errors.InsufficientPrivilege as error:
            raise SchemaRefused(
                f"{name}: {error.diag.message_primary}; migrate as the owner of Kamailio's tables, with CREATEROLE"
            ) from error
        except psycopg.OperationalError:
            raise  # the caller's connection makes it DatabaseUnreachable
        except psycopg.Error as error:
            detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
            raise SchemaRefused(f"{name}: {error.diag.message_primary or error}{detail}") from error
