"""Checks of the catalogs: schema, columns, indexes. `sql.check.rows` checks the rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg.rows import class_row

from sql.check.directory import check_directory
from sql.check.grants import check_grants
from sql.check.rows import check_rows
from sql.check.writes import check_writes
from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, passed
from sql.kamailio_tables.widening import WIDEN_COMMAND
from sql.schema.obstacles import LOCATION_VERSION
from sql.schema.record import MIGRATE_COMMAND, missing_migrations
from sql.schema.search_path import find_elsewhere
from sql.statements import fetch_row, statement

# From this share of the ids on, an operator has no time left to wait for a quiet hour.
IDS_NEARLY_USED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The result of the statement check_facts.

    Attributes:
        expires_type: type of the column expires: bigint, or a timestamp in Kamailio's time zone.
        timezone: Kamailio's time zone, as set.
        zone_offset: its offset from UTC now, seconds.
        narrow_columns: columns of location that are narrower than in Kamailio's own schema; the width of each, and that
            of Kamailio's schema, in characters.
        used_ids: tables that have used half of their ids; of each the last id, the highest possible one, and whether
            its sequence then cycles.
        unlogged: tables that a crash of PostgreSQL empties.
    """

    expires_type: str
    timezone: str
    zone_offset: float
    invalid_indexes: list[str] | None
    refreshed_indexes: list[str] | None
    location_version: int | None
    narrow_columns: dict[str, tuple[int, int]] | None
    used_ids: dict[str, tuple[int, int, bool]] | None
    unlogged: list[str] | None

    @property
    def has_zone(self) -> bool:
        """Whether rows hold wall clock times (TIMESTAMP columns), not epoch seconds."""
        return self.expires_type != "bigint"


def find_facts(connection: Connection) -> Facts:
    """Read the catalogs. The schema must be current."""
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        facts = cursor.execute(statement("check_facts")).fetchone()
    assert facts is not None  # noqa: S101  # a SELECT without FROM has a row
    return facts


def check_schema(connection: Connection) -> Finding:
    """Check that the database has every migration. Without them nothing else can be checked."""
    missing = missing_migrations(connection)
    if not missing:
        return passed("schema", "the schema is current")
    if elsewhere := find_elsewhere(connection):
        return Finding(
            "schema",
            Severity.FAULT,
            f"this login does not find our tables: {elsewhere}",
            "the API and the worker do not start with this login",
            "execute that command as the owner of the database, then connect again",
        )
    return Finding(
        "schema",
        Severity.FAULT,
        f"migrations are missing: {', '.join(missing)}",
        "the API and the worker do not start on an old schema",
        f"run `{MIGRATE_COMMAND}` as the owner of the table location",
    )


def check_database(connection: Connection, *, facts: Facts) -> Iterator[Finding]:
    """Check everything that the database alone can tell. The schema must be current. Locks and changes nothing.

    Args:
        connection: in autocommit mode.
        facts: from :func:`find_facts`.
    """
    yield check_writes(connection)
    yield from _check_catalogs(facts)
    yield from _check_schema_open(connection)
    yield from check_grants(connection)
    yield from check_rows(connection, timezone=facts.timezone if facts.has_zone else None)
    yield from check_directory(connection)


def _check_catalogs(facts: Facts) -> Iterator[Finding]:
    wrong_version = facts.location_version != LOCATION_VERSION
    if facts.location_version is not None and facts.location_version > LOCATION_VERSION:
        yield Finding(
            "location_version",
            Severity.WARNING,
            f"table version has {facts.location_version} for location; this release supports {LOCATION_VERSION}",
            f"a later Kamailio may write other values there; one that needs {LOCATION_VERSION} does not start",
            "upgrade kamailio-registrations as soon as a release supports that Kamailio",
        )
    elif wrong_version:
        yield Finding(
            "location_version",
            Severity.FAULT,
            f"table version has {facts.location_version or 'nothing'} for location, not {LOCATION_VERSION}",
            "Kamailio does not start",
            f"set table_version to {LOCATION_VERSION} in the row for location, or add that row",
        )
    if facts.narrow_columns:
        narrow = [f"{name} has {has}, not {wanted}" for name, (has, wanted) in facts.narrow_columns.items()]
        yield Finding(
            "columns_narrow",
            Severity.FAULT,
            f"columns of location are narrower than in Kamailio's own schema: {', '.join(narrow)}",
            "if usrloc writes a longer value, the phone gets a 500 and cannot register; in db_mode 2 it has no row",
            "; ".join(f"{WIDEN_COMMAND} {name} {wanted}" for name, (_, wanted) in facts.narrow_columns.items()),
        )
    yield from _check_ids(facts.used_ids or {})
    if facts.unlogged:
        yield Finding(
            "unlogged",
            Severity.WARNING,
            f"UNLOGGED: {', '.join(facts.unlogged)}",
            "a crash of PostgreSQL or a failover empties it, and a standby never has its rows. In db_mode 3 no phone "
            "can be called before its next REGISTER. In db_mode 1 and 2 Kamailio still has its memory until a restart, "
            "and each row returns with the phone's next refresh; until then it is in no list and no flush",
            "; ".join(f"alter table {name} set logged" for name in facts.unlogged)
            + ", in a quiet hour: PostgreSQL rewrites the table while REGISTERs wait, some seconds for a million rows",
        )
    if facts.invalid_indexes:
        yield Finding(
            "index_invalid",
            Severity.WARNING,
            f"invalid index: {', '.join(facts.invalid_indexes)}",
            "its build was interrupted: it slows every write and no query uses it",
            "; ".join(f"reindex index concurrently {name}" for name in facts.invalid_indexes),
        )
    if facts.refreshed_indexes:
        yield Finding(
            "index_refreshed",
            Severity.WARNING,
            f"index {', '.join(facts.refreshed_indexes)} has a column that every refresh changes",
            "refreshes cannot be heap-only updates: they write twice as much, and the table grows",
            "; ".join(f"drop index concurrently {name}" for name in facts.refreshed_indexes)
            + "; but keep it if nathelper pings from the table (db_mode 3)",
        )
    if not (
        wrong_version
        or facts.narrow_columns
        or facts.used_ids
        or facts.unlogged
        or facts.invalid_indexes
        or facts.refreshed_indexes
    ):
        yield passed("location", "usrloc's table has the expected columns and indexes")


def _check_schema_open(connection: Connection) -> Iterator[Finding]:
    for (schema,) in connection.execute(statement("check_schema_open")):
        yield Finding(
            "schema_open",
            Severity.WARNING,
            f"everybody may create functions in schema {schema}, the default of PostgreSQL 14",
            "any login can run its code with the rights of the worker, the API and whoever migrates",
            f"revoke create on schema {schema} from public",
        )


def _check_ids(used: dict[str, tuple[int, int, bool]]) -> Iterator[Finding]:
    for table, (last, highest, cycles) in used.items():
        yield Finding(
            "ids_used",
            Severity.FAULT if last >= IDS_NEARLY_USED * highest else Severity.WARNING,
            f"{table} has used {last / highest:.0%} of its ids: the last one was {last}, the highest is {highest}",
            "after the highest the sequence starts again: a phone gets a 500 if an older row has its id"
            if cycles
            else "after the highest PostgreSQL refuses new rows: a phone that is not registered yet gets a 500",
            f"{WIDEN_COMMAND} id{'' if table == 'location' else f' --table {table}'}, while everything is running",
        )


def find_summary(connection: Connection) -> Mapping[str, str]:
    """Numbers and types for an operator, by name."""
    names = (
        "location rows",
        "not enriched",
        "accounts",
        "devices",
        "expires column",
        "kamailio time zone",
        "auth view",
    )
    return dict(zip(names, map(str, fetch_row(connection, "check_summary")), strict=True))
