"""Bringing a database to the schema of this version, beside a live proxy.

Each migration is one SQL file. A lock on a table of Kamailio's is waited for an instant only, then given up and tried
again.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from psycopg import sql

from sql.connections.database import Connection, connect
from sql.connections.lock_waits import in_a_gap, lock_out_others
from sql.schema.migration import Migration, all_migrations
from sql.schema.obstacles import find_obstacles, find_unfit, refuse
from sql.schema.privileges import complete_roles, find_blind_roles, find_refused_entry, make_roles
from sql.schema.record import MIGRATE_COMMAND, applied_migrations, later_migrations
from sql.schema.search_path import enter_schema, refuse_planted
from sql.schema.site import write_site
from sql.schema.trial import TRIGGER_FAILS, phones_still_register
from sql.settings import DatabaseSettings
from sql.statements import fetch_row, statement


def migrate(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Apply what is missing, write the facts of the site that the views need, and give the roles what they lack.

    Args:
        settings: which database, and the facts.
        report: called with one line for each step, before it is taken.

    Returns:
        Names of the migrations that were applied; empty when the schema was current.

    Raises:
        SchemaRefused: there are obstacles, all of which the message names; nothing was changed. Or a migration failed
            all the same, and those before it stay. Or the roles lack something that this login may not give.
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=MIGRATE_COMMAND) as connection:
        lock_out_others(connection, report=report)
        missing = _require_no_obstacle(connection, report=report)
        in_a_gap(connection, lambda: make_roles(connection, report), name="roles", report=report)
        for migration in missing:
            report(f"applying {migration.name}: {migration.lock}")
            in_a_gap(connection, partial(apply, connection, migration), name=migration.name, report=report)
        if later := later_migrations(connection):
            report(f"the database has the schema of a later version ({', '.join(later)}): upgrade this program, too")
        write_site(connection, settings, report=report)
        (made,) = fetch_row(connection, "account_follow_domains")
        if made:
            report(f"Kamailio's subscribers are the directory: {made} account(s) made of their domains")
        complete_roles(connection, report)
    return [migration.name for migration in missing]


def plan(settings: DatabaseSettings, *, report: Callable[[str], None] = lambda _: None) -> list[Migration]:
    """What `migrate` would apply, in its order; changes nothing.

    Args:
        settings: which database.
        report: called with one line where something is worth a second look.

    Raises:
        SchemaRefused: `migrate` would refuse this database.
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=f"{MIGRATE_COMMAND} --dry-run") as connection:
        lock_out_others(connection, report=report)
        missing = _require_no_obstacle(connection, report=report)
        for each in find_blind_roles(connection):
            report(f"{each}: {each.remedy}")
        if refused := find_refused_entry(connection):
            report(f"this login may not let our roles in; as who may, after migrate: {'; '.join(refused)}")
    return missing


def apply(connection: Connection, migration: Migration) -> None:
    """Apply one migration and record it.

    Args:
        connection: in autocommit mode, with the search_path of `enter_schema`; our roles are there.
        migration: one without a transaction may be repeated after it failed.

    Raises:
        SchemaRefused: phones could not register with the new columns of location; nothing was changed.
    """
    record = sql.SQL(statement("migration_record")).format(name=sql.Literal(migration.name)).as_string(connection)
    if not migration.has_transaction:
        connection.execute(statement("session_patience"))
        for each in [*migration.text.split(";\n"), record]:
            connection.execute(each.encode(), prepare=False)
        return
    registers = phones_still_register(connection, f"{migration.name}: {TRIGGER_FAILS}")
    with connection.transaction(), registers if "location" in migration.locked else nullcontext():
        # In one round trip: on a busy machine, locks would be held while two programs wait for each other's turn.
        connection.execute(f"{migration.text}\n{record}".encode(), prepare=False)


def _require_no_obstacle(connection: Connection, *, report: Callable[[str], None]) -> list[Migration]:
    """Enter the schema and return the missing migrations.

    Raises:
        SchemaRefused: names everything that would stop them.
    """
    refuse_planted(connection)
    unfit = find_unfit(connection, report=report)
    recorded = applied_migrations(connection)
    applied = [each for each in all_migrations() if each.name in recorded]
    missing = [each for each in all_migrations() if each.name not in recorded]
    obstacles: list[str] = []
    enter_schema(connection)
    in_a_gap(
        connection,
        lambda: obstacles.extend(find_obstacles(connection, applied, missing, is_fit=not unfit, report=report)),
        name="looking for obstacles",
        report=report,
    )
    refuse([*unfit, *obstacles])
    return missing
