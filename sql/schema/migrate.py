"""Bringing a database to the schema of this version, and telling whether it is there.

yoyo applies the migrations, one SQL file each, under an advisory lock. They may meet a live proxy: a lock on a table
of Kamailio's is waited for an instant only, then given up and tried again.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from importlib.resources import as_file, files

import psycopg
from psycopg import sql
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, MigrationList, default_migration_table

from sql.connections.database import Connection, connect
from sql.connections.lock_waits import in_a_gap, lock_out_others
from sql.directory.subscribers import follow_domains
from sql.errors import SchemaRefused, SchemaStale
from sql.schema.obstacles import find_obstacles, find_unfit
from sql.schema.own_objects import BOOKKEEPING
from sql.schema.plan import PlannedMigration, planned
from sql.schema.privileges import complete_roles, find_blind_roles, find_refused_entry, make_roles
from sql.schema.search_path import enter_schema, find_elsewhere, refuse_planted
from sql.schema.site import write_site
from sql.schema.trial import TRIGGER_FAILS, phones_still_register
from sql.settings import DatabaseSettings
from sql.statements import statement

MIGRATE_COMMAND = "registrations-db migrate"

log = logging.getLogger(__name__)


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo is untyped
    """yoyo on a connection of ours, so that libpq alone reads the URL; a migration is marked as it commits."""

    def __init__(self, connection: Connection) -> None:
        self._ours = connection
        super().__init__(DatabaseURI("postgresql", None, None, None, None, None, {}), default_migration_table)

    def connect(self, dburi: DatabaseURI) -> Connection:  # noqa: ARG002  # yoyo's signature
        return self._ours

    def apply_one(self, migration: Migration, force: bool = False, mark: bool = True) -> None:  # noqa: ARG002
        migration.load()
        if migration.use_transactions:
            meets_rows = "location" in planned(migration).locks
            with self._ours.transaction():
                what = f"{migration.id}: {TRIGGER_FAILS}"
                with phones_still_register(self._ours, what) if meets_rows else nullcontext():
                    self.mark_one(migration)
                    # At one go: what it locks is not held while one of two busy programs waits for the other's turn.
                    self._ours.execute(migration.source.encode(), prepare=False)
        else:
            migration.process_steps(self, "apply")
            self.mark_one(migration)


def migrate(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Apply what is missing, write the facts of the site that the views need, and give the roles what they lack.

    Args:
        settings: which database, and the facts.
        report: called with one line for each step, before it is taken.

    Returns:
        Names of the migrations that were applied; empty when the schema was current.

    Raises:
        SchemaRefused: something is in the way, all of which the message names; nothing was changed. Or a migration
            could not be applied all the same, what came before it stays; or the roles lack something that this login
            may not give.
        DatabaseUnreachable: PostgreSQL is away.
    """
    applied: list[str] = []
    with connect(settings, application_name=MIGRATE_COMMAND) as connection:
        lock_out_others(connection, report=report)
        missing = _require_no_obstacle(connection, report=report)
        # Migrations give them privileges, and a restored cluster may lack them.
        in_a_gap(connection, lambda: make_roles(connection, report), name="roles", report=report)
        backend = _Backend(connection)
        try:
            backend.create_lock_table()
            backend.break_lock()  # a row left by a process that was killed: who holds the advisory lock is alone
            for migration in backend.to_apply(missing):
                report(f"applying {migration.id} ({planned(migration).lock})")
                _apply(backend, migration, report=report)
                applied.append(migration.id)
        except SchemaRefused:
            if not any_migrations(connection):
                names = sql.SQL(", ").join(map(sql.Identifier, BOOKKEEPING))
                connection.execute(sql.SQL("drop table if exists {}").format(names))
            raise
        later = later_migrations(connection)
        if later:
            report(f"the database has the schema of a later version ({', '.join(later)}): upgrade this program, too")
        write_site(connection, settings, report=report)
        made = follow_domains(connection)
        if made:
            report(f"Kamailio's subscribers are the directory: {made} account(s) made of their domains")
        complete_roles(connection, report)
    return applied


def plan(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> list[PlannedMigration]:
    """What `migrate` would apply, in its order; changes nothing.

    Args:
        settings: which database.
        report: called with one line where something is worth a second look.

    Raises:
        SchemaRefused: it would refuse this database.
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=f"{MIGRATE_COMMAND} --dry-run") as connection:
        lock_out_others(connection, report=report)
        missing = _require_no_obstacle(connection, report=report)
        for each in find_blind_roles(connection):
            report(f"{each}: {each.cure}")
        if refused := find_refused_entry(connection):
            report(f"this login may not let our roles in; as who may, after migrate: {'; '.join(refused)}")
    return [planned(migration) for migration in missing]


def _require_no_obstacle(connection: Connection, *, report: Callable[[str], None]) -> MigrationList:
    """Enter the schema and return the missing migrations.

    Raises:
        SchemaRefused: names everything that would stop them.
    """
    refuse_planted(connection)
    unfit = find_unfit(connection, report=report)
    applied = _applied(connection)
    missing = _migrations().filter(lambda each: each.id not in applied)
    has = _migrations().filter(lambda each: each.id in applied)
    obstacles: list[str] = []
    enter_schema(connection)
    in_a_gap(
        connection,
        lambda: obstacles.extend(find_obstacles(connection, has, missing, is_fit=not unfit, report=report)),
        name="looking for obstacles",
        report=report,
    )
    _refuse([*unfit, *obstacles])
    return missing


def _refuse(obstacles: list[str]) -> None:
    if len(obstacles) > 1:
        lines = "".join(f"\n  - {each}" for each in obstacles)
        raise SchemaRefused(f"{len(obstacles)} things are in the way, nothing was changed:{lines}")
    if obstacles:
        raise SchemaRefused(f"{obstacles[0]} (nothing was changed)")


def _apply(backend: _Backend, migration: Migration, *, report: Callable[[str], None]) -> None:
    in_a_gap(backend.connection, lambda: backend.apply_one(migration), name=migration.id, report=report)


def refuse_what_is_not_ours_to_change(
    connection: Connection, *, report: Callable[[str], None] = lambda _: None
) -> None:
    """Refuse a role that may not change the schema, and a database that is not usrloc's.

    Args:
        connection: to that database.
        report: called with one line when it has no table of usrloc's yet, or one of a later Kamailio.

    Raises:
        SchemaRefused: says which, and what to do; or that usrloc's table is in another schema.
    """
    refuse_planted(connection)
    _refuse(find_unfit(connection, report=report))


@cache
def _migrations() -> MigrationList:
    with as_file(files("sql.schema").joinpath("migrations")) as directory:
        migrations = read_migrations(str(directory))
    for each in migrations:
        each.load()
    return migrations


def missing_migrations(connection: Connection) -> list[str]:
    """Names of the migrations that the database lacks, in their order."""
    applied = _applied(connection)
    return [migration.id for migration in _migrations() if migration.id not in applied]


def later_migrations(connection: Connection) -> list[str]:
    """Names of the migrations that the database has of a later version than this one, in their order."""
    return sorted(_applied(connection) - {migration.id for migration in _migrations()})


def any_migrations(connection: Connection) -> bool:
    """Whether the database has any of ours."""
    return bool(_applied(connection))


def _applied(connection: Connection) -> set[str]:
    try:
        return {row[0] for row in connection.execute(statement("migrations_applied"))}
    except psycopg.errors.UndefinedTable:
        return set()


def require_current_schema(connection: Connection) -> None:
    """Refuse a database that lacks migrations. One of a later version is as good: that is what it is made for.

    Raises:
        SchemaStale: names the first missing migration and the command that cures it.
    """
    missing = missing_migrations(connection)
    if missing and (elsewhere := find_elsewhere(connection)):
        raise SchemaStale(f"this login does not find our tables: {elsewhere}")
    if missing:
        raise SchemaStale(
            f"the database lacks {len(missing)} migration(s), first {missing[0]}: run `{MIGRATE_COMMAND}`"
        )


def start_on_schema(connection: Connection) -> None:
    """Refuse what `require_current_schema` does; daemons call it at their start, and log a schema of a later version.

    Raises:
        SchemaStale: as there.
    """
    require_current_schema(connection)
    later = later_migrations(connection)
    if later:
        facts = {"action": "start", "migrations": ", ".join(later)}
        log.warning("the database has the schema of a later version: upgrade this program, too", extra=facts)
