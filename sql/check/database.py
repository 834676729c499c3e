"""What a check looks at in the catalogs: schema, columns, indexes. The rows are `sql.check.rows`'."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg.rows import class_row

from sql.check.directory import check_directory
from sql.check.grants import check_grants
from sql.check.rows import check_rows
from sql.check.writes import check_writes
from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, stands
from sql.kamailio_tables.widening import WIDEN_COMMAND
from sql.schema.migrate import MIGRATE_COMMAND, missing_migrations
from sql.schema.obstacles import LOCATION_VERSION
from sql.schema.search_path import find_elsewhere
from sql.statements import statement

# Share of the ids from which there is no time left to choose a quiet hour.
IDS_NEARLY_USED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the statement check_facts finds.

    Attributes:
        expires_type: of the column of that name; bigint, or a timestamp, whose values have a zone.
        timezone: in which Kamailio is said to run.
        zone_offset: of that zone from UTC now, seconds.
        narrow_columns: of location; of each its width and that of Kamailio's own schema, in characters.
        used_ids: tables with half of their ids used; of each the last id, the highest that it can have, and whether
            its sequence then begins again.
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
        """Whether rows hold wall clocks (TIMESTAMP columns) and no epoch seconds."""
        return self.expires_type != "bigint"


def find_facts(connection: Connection) -> Facts:
    """Read the catalogs; the schema must be current."""
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        facts = cursor.execute(statement("check_facts")).fetchone()
    assert facts is not None  # noqa: S101  # a SELECT without FROM has a row
    return facts


def check_schema(connection: Connection) -> Finding:
    """Whether the database has every migration; without them nothing else can be looked at."""
    missing = missing_migrations(connection)
    if not missing:
        return stands("schema", "the database has the schema of this version")
    if elsewhere := find_elsewhere(connection):
        return Finding(
            "schema",
            Severity.FAULT,
            f"this login does not find our tables: {elsewhere}",
            "API and worker do not start with such a login",
            "execute that as the owner of the database, then connect again",
        )
    return Finding(
        "schema",
        Severity.FAULT,
        f"the database lacks migrations: {', '.join(missing)}",
        "API and worker do not start on an old schema",
        f"run `{MIGRATE_COMMAND}` as the owner of the table location",
    )


def check_database(connection: Connection, *, facts: Facts) -> Iterator[Finding]:
    """Look at everything that the database alone tells; the schema must be current. Locks nothing, leaves nothing.

    Args:
        connection: in autocommit mode.
        facts: of :func:`find_facts`.
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
            f"table version says that location is {facts.location_version}; this program is for {LOCATION_VERSION}",
            f"a later Kamailio may write other things there; one that is for {LOCATION_VERSION} does not start",
            "upgrade this program, too, as soon as there is a release for that Kamailio",
        )
    elif wrong_version:
        yield Finding(
            "location_version",
            Severity.FAULT,
            f"table version says that location is {facts.location_version or 'nothing'}, not {LOCATION_VERSION}",
            "Kamailio will not start",
            f"set table_version to {LOCATION_VERSION} in the row of location, or add that row",
        )
    if facts.narrow_columns:
        narrow = [f"{name} has {has}, not {wanted}" for name, (has, wanted) in facts.narrow_columns.items()]
        yield Finding(
            "columns_narrow",
            Severity.FAULT,
            f"columns of location are narrower than those of Kamailio's own schema: {', '.join(narrow)}",
            "usrloc writes longer values: such a phone gets a 500 and cannot register; in db_mode 2 it has no row",
            "; ".join(f"{WIDEN_COMMAND} {name} {wanted}" for name, (_, wanted) in facts.narrow_columns.items()),
        )
    yield from _check_ids(facts.used_ids or {})
    if facts.unlogged:
        yield Finding(
            "unlogged",
            Severity.WARNING,
            f"UNLOGGED: {', '.join(facts.unlogged)}",
            "a crash of PostgreSQL, or a failover, empties it, and a standby never has its rows: in db_mode 3 nobody "
            "can be called before the phone's next REGISTER; in db_mode 1 and 2 Kamailio goes on from memory, unless "
            "it is restarted, and each row is back at the phone's next refresh; until then no list and no flush has it",
            "; ".join(f"alter table {name} set logged" for name in facts.unlogged)
            + ", in a quiet hour: that writes the table anew while REGISTERs wait, some seconds for a million rows",
        )
    if facts.invalid_indexes:
        yield Finding(
            "index_invalid",
            Severity.WARNING,
            f"not usable: index {', '.join(facts.invalid_indexes)}",
            "its building was broken off; it costs at every write and helps nobody",
            "; ".join(f"reindex index concurrently {name}" for name in facts.invalid_indexes),
        )
    if facts.refreshed_indexes:
        yield Finding(
            "index_refreshed",
            Severity.WARNING,
            f"index {', '.join(facts.refreshed_indexes)} has a column that every refresh changes",
            "refreshes are no heap-only updates then: they write twice as much, and the table grows",
            "; ".join(f"drop index concurrently {name}" for name in facts.refreshed_indexes)
            + "; but keep it in db_mode 3 with nathelper's pings from the table",
        )
    if not (
        wrong_version
        or facts.narrow_columns
        or facts.used_ids
        or facts.unlogged
        or facts.invalid_indexes
        or facts.refreshed_indexes
    ):
        yield stands("location", "usrloc's table has the columns and indexes that it should")


def _check_schema_open(connection: Connection) -> Iterator[Finding]:
    for (schema,) in connection.execute(statement("check_schema_open")):
        yield Finding(
            "schema_open",
            Severity.WARNING,
            f"everybody may make functions in schema {schema}, as PostgreSQL 14 lets them",
            "any login can run its code with the rights of worker, API and whoever migrates",
            f"revoke create on schema {schema} from public",
        )


def _check_ids(used: dict[str, tuple[int, int, bool]]) -> Iterator[Finding]:
    for table, (last, highest, cycles) in used.items():
        yield Finding(
            "ids_used",
            Severity.FAULT if last >= IDS_NEARLY_USED * highest else Severity.WARNING,
            f"{last / highest:.0%} of the ids of {table} are used: the last one was {last}, the highest is {highest}",
            "after the highest they begin again: a phone whose id an older row has gets a 500"
            if cycles
            else "after the highest PostgreSQL refuses new rows: a phone that is not registered yet gets a 500",
            f"{WIDEN_COMMAND} id{'' if table == 'location' else f' --table {table}'}, while everything runs",
        )


def find_summary(connection: Connection) -> Mapping[str, str]:
    """How much there is, for the operator's eye, by its names."""
    row = connection.execute(statement("check_summary")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has a row
    names = (
        "location rows",
        "not enriched",
        "accounts",
        "devices",
        "expires column",
        "kamailio time zone",
        "auth view",
    )
    return dict(zip(names, map(str, row), strict=True))
