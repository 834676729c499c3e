"""Trials: whether a phone can register despite the operator's triggers, and whether the migrations work here."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.schema.migration import KAMAILIO_TABLES, Migration
from sql.schema.own_objects import own_schema
from sql.statements import fetch_row, statement

TRIAL = "registrations_trial"
CONCURRENTLY = re.compile(r"\bconcurrently\b", re.IGNORECASE)
FAILS = "phones could not register any more, by a trigger or rule of your own"
TRIGGER_FAILS = f"with the new columns of location {FAILS}"
TRIGGER_CURE = "name the columns there, in place of old.* or new.*"


def failure_of_a_registration(connection: Connection) -> str | None:
    """Write a row as usrloc does, refresh it, remove it, and roll back.

    The row takes no number of the sequence. It is found by its ctid, so that no other row is read while the table is
    locked. Deferred triggers are called at once.

    Args:
        connection: within a transaction.

    Returns:
        What went wrong; None when nothing did.

    Raises:
        psycopg.OperationalError: such as a lock that another session holds; it says nothing of the table.
    """
    row: tuple[str, ...] | None
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local enable_seqscan = off")
            connection.execute("set constraints all immediate")
            row = connection.execute(statement("trial_registration")).fetchone()
            again = "update location set cseq = cseq + 1 where ctid = %s::tid returning ctid::text"
            row = row and connection.execute(again, row).fetchone()
            if row:
                connection.execute("delete from location where ctid = %s::tid", row)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        where = (error.diag.context or "").partition("\n")[0]
        return f"{error.diag.message_primary or error}{f' ({where})' if where else ''}"
    return None


@contextmanager
def phones_still_register(connection: Connection, what: str) -> Iterator[None]:
    """Refuse a change of location, made within the `with`, if phones could register before it and not after it.

    Args:
        connection: within a transaction.
        what: how the message begins.

    Raises:
        SchemaRefused: names what failed; the caller rolls back.
        psycopg.OperationalError: as `failure_of_a_registration`.
    """
    worked = failure_of_a_registration(connection) is None
    yield
    connection.execute("discard plans")  # functions have plans for the row as it was
    if worked and (failure := failure_of_a_registration(connection)):
        raise SchemaRefused(f"{what}: {failure}: {TRIGGER_CURE}")


def failure_of_the_migrations(connection: Connection, migrations: Sequence[Migration]) -> str | None:
    """Apply all of them to copies of Kamailio's tables, without rows, in a schema of their own, and roll back.

    The copies have the operator's triggers, which are called for one row as in `failure_of_a_registration`. Kamailio's
    own tables are locked against ALTER TABLE only, for less than a second.

    Args:
        connection: in autocommit mode, with the search_path of `enter_schema`, of a role that may make a schema.
        migrations: all that there are, in their order.

    Returns:
        What went wrong; None when nothing did.

    Raises:
        psycopg.OperationalError: a table is locked by another session, or PostgreSQL is away.
    """
    (copies,) = fetch_row(connection, "trial_copies", {"tables": list(KAMAILIO_TABLES)})
    name = "a copy of Kamailio's tables"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(copies, prepare=False)
            connection.execute(statement("roles_make"))
            for column in own_schema().columns:
                drop = sql.SQL("alter table if exists {} drop column if exists {} cascade")
                connection.execute(drop.format(sql.Identifier(TRIAL, "location"), sql.Identifier(column)))
            worked = _registers(connection) is None
            for migration in migrations:
                name = migration.name
                connection.execute(CONCURRENTLY.sub("", migration.text).encode(), prepare=False)
                if worked and "location" in migration.locked and (failure := _registers(connection)):
                    return f"{name}: {TRIGGER_FAILS}: {failure}: {TRIGGER_CURE}"
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        return (
            f"{name} would fail: {error.diag.message_primary or error}{detail}; it was tried on copies of Kamailio's "
            "tables, so compare them with its schema (kamdbctl), and see event triggers (\\dy), whose functions must "
            "name their tables with the schema"
        )
    return None


def _registers(connection: Connection) -> str | None:
    """As `failure_of_a_registration`, with the operator's search_path behind the copies, which his triggers need."""
    with connection.transaction(force_rollback=True):
        connection.execute(statement("trial_path"))
        connection.execute("discard plans")
        return failure_of_a_registration(connection)
