"""What would stop `migrate`: found before the first change, and reported all at once, each with its remedy."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.schema.migration import KAMAILIO_TABLES, Migration
from sql.schema.names import names_made_by
from sql.schema.privileges import missing_roles
from sql.schema.record import applied_migrations
from sql.schema.search_path import find_unfit_collations, find_wrong_schema, refuse_planted
from sql.schema.trial import failure_of_the_migrations
from sql.statements import statement

LOCATION_VERSION = 9
# As in roles_make.sql, for the roles that people use.
LIMITS = {"registrations_report": " connection limit 20", "registrations_import": " connection limit 5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the statement migrate_facts finds; names are quoted as commands want them."""

    encoding: str
    role: str
    database: str
    schema: str | None
    may_create: bool
    may_create_schemas: bool
    may_create_roles: bool
    is_standby: bool
    is_read_only: bool
    has_location: bool
    has_version: bool
    has_ours: bool
    location_version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What the statement migrate_kamailio_tables finds of one table; `other_kind` is None of an ordinary one."""

    name: str
    schema: str
    owner: str
    is_ours_to_change: bool
    other_kind: str | None
    is_partition: bool
    hides_rows: bool
    children: list[str]
    parents: list[str]


def find_unfit(connection: Connection, *, report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Say why no command may change the schema of this database. Reads catalogs and the table version only.

    Args:
        connection: with the search_path with which it was opened.
        report: called with one line if usrloc's table is missing or of a later Kamailio: it may be the wrong database.

    Raises:
        SchemaRefused: as `refuse_unrecorded`, or Kamailio's table version says nothing of location.
    """
    facts = _facts(connection)
    refuse_unrecorded(connection)
    if facts.has_location and facts.has_version and facts.location_version is None:
        raise SchemaRefused(
            "Kamailio's table version has no row for location: give it the row ('location', 9), if the table is that "
            "of Kamailio 5.2 or later"
        )
    found = []
    if facts.is_standby:
        found.append(
            "this server is a read-only standby: have REGISTRATIONS_DATABASE_URL name the primary, or "
            "several hosts with target_session_attrs=read-write"
        )
    elif facts.is_read_only:
        found.append(
            f"transactions of role {facts.role} are read-only here (default_transaction_read_only): take that back, "
            "or migrate as another role"
        )
    if facts.schema and not facts.may_create:
        found.append(
            f"role {facts.role} may not change this schema: it lacks CREATE on schema {facts.schema}; migrate as the "
            f"owner of location, often postgres, or `grant create on schema {facts.schema} to {facts.role}`"
        )
    found += find_wrong_schema(connection, report=report)
    found += [
        _belongs_to_another(facts, table)
        for table in _tables(connection)
        if table.name == "location" and not table.is_ours_to_change
    ]
    if facts.encoding != "UTF8":
        found.append(f"the database's encoding is {facts.encoding}; it must be UTF8")
    if facts.location_version is not None and facts.location_version < LOCATION_VERSION:
        found.append(
            f"usrloc's table location is of version {facts.location_version}, not {LOCATION_VERSION}: "
            "upgrade Kamailio's schema first (Kamailio 5.2 and later have version 9)"
        )
    if facts.location_version is not None and facts.location_version > LOCATION_VERSION:
        report(
            f"usrloc's table location is of version {facts.location_version}; this program is for {LOCATION_VERSION}: "
            "upgrade it, too, when there is a release for that Kamailio"
        )
    return found


def find_obstacles(
    connection: Connection,
    applied: Sequence[Migration],
    missing: Sequence[Migration],
    *,
    is_fit: bool,
    report: Callable[[str], None],
) -> list[str]:
    """Say what would stop `migrate`. Changes nothing.

    Args:
        connection: in autocommit mode, with the search_path of `enter_schema`.
        applied: those that the database has, in their order.
        missing: the others.
        is_fit: whether `find_unfit` found nothing.
        report: called with a line when the migrations cannot be tried.

    Raises:
        psycopg.OperationalError: a table is locked by another session, or PostgreSQL is away.
    """
    facts = _facts(connection)
    found = _roles(connection, facts)
    if not missing:
        return found
    if not applied:
        for table in _tables(connection):
            found += _table(facts, table)
    found += _taken_names(connection, applied, missing)
    found += find_unfit_collations(connection)
    if found or not is_fit:
        return found  # a trial would fail at the first of these
    if not facts.may_create_schemas:
        report(
            "event triggers, triggers of yours and columns of another type cannot be looked at beforehand, since role "
            f"{facts.role} may not make a schema: `grant create on database {facts.database} to {facts.role}`"
        )
    elif failure := failure_of_the_migrations(connection, [*applied, *missing]):
        found.append(failure)
    return found


def refuse(obstacles: Sequence[str]) -> None:
    """Refuse to change the schema if there are any.

    Raises:
        SchemaRefused: names them all.
    """
    if len(obstacles) > 1:
        lines = "".join(f"\n  - {each}" for each in obstacles)
        raise SchemaRefused(f"{len(obstacles)} things are in the way, nothing was changed:{lines}")
    if obstacles:
        raise SchemaRefused(f"{obstacles[0]} (nothing was changed)")


def refuse_unfit(connection: Connection, *, report: Callable[[str], None] = lambda _: None) -> None:
    """Refuse a database whose schema no command may change, or where another role could run code with our rights.

    Args:
        connection: to that database.
        report: as of `find_unfit`.

    Raises:
        SchemaRefused: says why, and what to do.
    """
    refuse_planted(connection)
    refuse(find_unfit(connection, report=report))


def refuse_unrecorded(connection: Connection) -> None:
    """Refuse a database that has our tables and no record of migrations. Reads catalogs and that record.

    Raises:
        SchemaRefused: says how it may have come to that, and what to do.
    """
    if _facts(connection).has_ours and not applied_migrations(connection):
        raise SchemaRefused(
            "our tables are here, but no record of their migrations: if the schema was restored without its data, "
            "restore that, too; if a version before 1.0.0 made them, let that version take them out "
            "(`registrations-db uninstall --yes`)"
        )


def _facts(connection: Connection) -> Facts:
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        facts = cursor.execute(statement("migrate_facts")).fetchone()
    assert facts is not None  # noqa: S101  # a SELECT without FROM has a row
    return facts


def _tables(connection: Connection) -> list[Table]:
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        return cursor.execute(statement("migrate_kamailio_tables"), {"tables": list(KAMAILIO_TABLES)}).fetchall()


def _belongs_to_another(facts: Facts, table: Table) -> str:
    return (
        f"role {facts.role} may not change this schema: the table {table.name} belongs to {table.owner}; migrate as "
        f"{table.owner}, or as postgres"
    )


def _roles(connection: Connection, facts: Facts) -> list[str]:
    missing = [] if facts.may_create_roles else missing_roles(connection)
    if not missing:
        return []
    commands = "; ".join(f"create role {role} login{LIMITS.get(role, '')}" for role in missing)
    return [
        f"role {facts.role} lacks CREATEROLE, and there is no role {', '.join(missing)}: `alter role {facts.role} "
        f"createrole`, or have them made by a superuser: `{commands}`"
    ]


def _table(facts: Facts, table: Table) -> list[str]:
    """What the first migrations cannot work with in one of Kamailio's own tables."""
    found = []
    if table.name != "location" and not table.is_ours_to_change:  # location: see find_unfit
        found.append(_belongs_to_another(facts, table))
    if table.other_kind:
        found.append(
            f"{table.name} is {table.other_kind}: it must be an ordinary table, as kamdbctl makes it, on which indexes "
            "can be built beside the running proxy; make it one, and copy its rows"
        )
    if table.is_partition:
        found.append(f"{table.name} is a partition: detach it from its table, `alter table ... detach partition`")
    found += [
        f"{child} inherits from {parent}, so that its columns and rows would be both tables': `alter table {child} no "
        f"inherit {parent}`"
        for child, parent in [
            *((child, table.name) for child in table.children),
            *((table.name, parent) for parent in table.parents),
        ]
    ]
    if table.hides_rows:
        found.append(
            f"row level security of {table.name} would hide its rows from API and worker: `alter table {table.name} "
            "disable row level security`; once their roles are there they can be given policies"
        )
    return found


def _taken_names(connection: Connection, applied: Sequence[Migration], missing: Sequence[Migration]) -> list[str]:
    ours = [*applied]
    if applied and not missing[0].has_transaction:
        ours.append(missing[0])  # it may have been interrupted, and is repeated
    given, known = asdict(names_made_by(missing)), asdict(names_made_by(ours))
    wanted = {kind: sorted(names - known[kind]) for kind, names in given.items()}
    return [
        f"{what}, of role {owner}, has a name that is to be ours: rename it, or move it into another schema"
        for what, owner in connection.execute(statement("migrate_taken_names"), wanted)
    ]
