"""Trying beforehand: whether a phone can register, by the operator's triggers, too, and whether the migrations work."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql
from yoyo.migrations import Migration

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.schema.names import names_made_by
from sql.schema.plan import KAMAILIO_TABLES, planned
from sql.statements import statement

TRIAL = "registrations_trial"
CONCURRENTLY = re.compile(r"\bconcurrently\b", re.IGNORECASE)
FAILS = "phones could not register any more, by a trigger or rule of your own"
TRIGGER_FAILS = f"with the new columns of location {FAILS}"
TRIGGER_CURE = "name the columns there, in place of old.* or new.*"


def failure_of_a_registration(connection: Connection) -> str | None:
    """Write a row as usrloc does, refresh it, remove it, and take all back.

    It takes no number of the sequence. It is found by its place, so that no other row is read under the table's lock.
    Triggers that are deferred are called at once.

    Args:
        connection: within a transaction.

    Returns:
        What went wrong; None when nothing did.

    Raises:
        psycopg.OperationalError: it says nothing of the table; a lock is waited for again.
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
    """Refuse what is done meanwhile to location, if a phone could register before and could not any more.

    Args:
        connection: within a transaction.
        what: the begin of the message.

    Raises:
        SchemaRefused: names what failed; the transaction is to be rolled back.
        psycopg.OperationalError: as `failure_of_a_registration`.
    """
    worked = failure_of_a_registration(connection) is None
    yield
    connection.execute("discard plans")  # of functions that have met the row as it was
    if worked and (failure := failure_of_a_registration(connection)):
        raise SchemaRefused(f"{what}: {failure}: {TRIGGER_CURE}")


def failure_of_the_migrations(connection: Connection, migrations: Sequence[Migration]) -> str | None:
    """Apply all of them to copies of Kamailio's tables, without rows, in a schema of their own, and take all back.

    The copies have the operator's triggers, which are called for one row as by `failure_of_a_registration`. Kamailio's
    own tables are locked against ALTER TABLE only, and for less than a second.

    Args:
        connection: in autocommit mode, with the search_path of `enter_schema`, of a role that may make a schema.
        migrations: all that there are, in their order.

    Returns:
        What went wrong; None when nothing did.

    Raises:
        psycopg.OperationalError: a table is locked by another session, or PostgreSQL is away.
    """
    columns = [each.partition(".") for each in names_made_by(migrations).columns]
    row = connection.execute(statement("trial_copies"), {"tables": list(KAMAILIO_TABLES)}).fetchone()
    assert row is not None  # noqa: S101  # an aggregate has a row
    name = "a copy of Kamailio's tables"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(row[0], prepare=False)
            for table, _, column in columns:
                drop = sql.SQL("alter table if exists {} drop column if exists {} cascade")
                connection.execute(drop.format(sql.Identifier(TRIAL, table), sql.Identifier(column)))
            worked = _registers(connection) is None
            for migration in migrations:
                name = migration.id
                migration.load()
                connection.execute(CONCURRENTLY.sub("", migration.source).encode(), prepare=False)
                if worked and "location" in planned(migration).locks and (failure := _registers(connection)):
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
    """The operator's triggers look for their tables where they do otherwise, behind the copies."""
    with connection.transaction(force_rollback=True):
        connection.execute(statement("trial_path"))
        connection.execute("discard plans")
        return failure_of_a_registration(connection)
