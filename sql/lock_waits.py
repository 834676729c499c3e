"""Waiting for locks while the schema is changed: of another migration, and of tables that a live proxy uses."""

import itertools
from collections.abc import Callable
from time import sleep

import psycopg

from sql.connections import Connection
from sql.errors import SchemaRefused
from sql.statements import statement

LOCK_ATTEMPTS = 200
LOCK_PAUSE_SECONDS = 0.1


def lock_out_others(connection: Connection, *, report: Callable[[str], None]) -> None:
    """Wait until no other session changes the schema; from now on none can, until this connection ends."""
    for attempt in itertools.count(1):
        row = connection.execute(statement("migrate_lock")).fetchone()
        if row and row[0]:
            return
        if attempt == 1:
            report(f"another migration of this database is running (role {row and row[1]}), waiting for its end")
        sleep(LOCK_PAUSE_SECONDS)


def in_a_gap(connection: Connection, change: Callable[[], None], *, name: str, report: Callable[[str], None]) -> None:
    """Change the schema beside a live proxy: a lock is waited for an instant only, then all of it is tried again.

    Args:
        connection: in autocommit; its time limits are changed.
        change: what to do, in a transaction of its own or so that it can be repeated.
        name: what the messages call it.
        report: called with a line when a table is in use.

    Raises:
        SchemaRefused: PostgreSQL refuses it, or a table is locked by another session for too long.
    """
    for attempt in itertools.count(1):
        try:
            connection.execute(statement("migrate_limits"))
            change()
            return
        except psycopg.errors.LockNotAvailable as error:
            if attempt == LOCK_ATTEMPTS:
                raise SchemaRefused(
                    f"{name}: a table is locked by another session for too long; see pg_locks, then try again"
                ) from error
            if attempt == 1:
                report(f"{name}: a table is in use, waiting for a gap between its transactions")
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
