"""Which migrations a database has, and whether this version can work with it."""

import logging

import psycopg

from sql.connections.database import Connection
from sql.errors import SchemaStale
from sql.schema.migration import all_migrations
from sql.schema.search_path import find_elsewhere
from sql.statements import statement

MIGRATE_COMMAND = "registrations-db migrate"

log = logging.getLogger(__name__)


def applied_migrations(connection: Connection) -> set[str]:
    """Names of the migrations that the database has, those of a later version, too."""
    try:
        return {row[0] for row in connection.execute(statement("migrations_applied"))}
    except psycopg.errors.UndefinedTable:
        return set()


def missing_migrations(connection: Connection) -> list[str]:
    """Names of the migrations that the database lacks, in their order."""
    applied = applied_migrations(connection)
    return [each.name for each in all_migrations() if each.name not in applied]


def later_migrations(connection: Connection) -> list[str]:
    """Names of the migrations that the database has of a later version than this one, in their order."""
    return sorted(applied_migrations(connection) - {each.name for each in all_migrations()})


def require_current_schema(connection: Connection) -> None:
    """Refuse a database that lacks migrations. One of a later version is accepted: a release only adds to the schema.

    Raises:
        SchemaStale: names the first missing migration and the command that applies it.
    """
    missing = missing_migrations(connection)
    if missing and (elsewhere := find_elsewhere(connection)):
        raise SchemaStale(f"this login does not find our tables: {elsewhere}")
    if missing:
        raise SchemaStale(
            f"the database lacks {len(missing)} migration(s), first {missing[0]}: run `{MIGRATE_COMMAND}`"
        )


def start_on_schema(connection: Connection) -> None:
    """Refuse what `require_current_schema` does; daemons call it when they start, and log a schema of a later version.

    Raises:
        SchemaStale: as there.
    """
    require_current_schema(connection)
    later = later_migrations(connection)
    if later:
        facts = {"action": "start", "migrations": ", ".join(later)}
        log.warning("the database has the schema of a later version: upgrade this program, too", extra=facts)
