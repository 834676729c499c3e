"""What `registrations-db migrate --dry-run` says beforehand, held against what PostgreSQL then does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest

from sql.connections.database import Connection, connect
from sql.schema.changes import foretell
from sql.schema.migrate import apply, migrate, plan
from sql.schema.migration import KAMAILIO_TABLES, all_migrations, read_migration
from sql.schema.privileges import make_roles
from sql.schema.search_path import enter_schema
from sql.settings import DatabaseSettings
from tests.fixtures.migrations import migrate_to
from tests.fixtures.postgres import table_digests
from tests.sql.catalog import snapshot
from tests.sql.registrations import location_samples

COMMAND = Path(sys.executable).parent / "registrations-db"
# Keeps how many rows of location this transaction has read by the time at which it first changes that table.
WATCH = """
create function watch_location() returns event_trigger language plpgsql as $$
begin
    if not exists (
        select from pg_locks
        where pid = pg_backend_pid() and relation = 'location'::regclass and mode = 'AccessExclusiveLock'
    ) then
        perform set_config('test.read', pg_stat_get_xact_tuples_returned('location'::regclass)::text, true);
    end if;
end $$;
create event trigger watch_location on ddl_command_start execute function watch_location();
"""


def _locked(connection: Connection) -> frozenset[str]:
    """Tables of Kamailio's on which this transaction has a lock that an UPDATE would wait for."""
    rows = connection.execute(
        "select relation::regclass::text from pg_locks where pid = pg_backend_pid() and locktype = 'relation' "
        "and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
    )
    return frozenset(row[0] for row in rows) & frozenset(KAMAILIO_TABLES)


def test_the_plan_names_every_lock_that_kamailio_would_meet(kamdbctl_url: str) -> None:
    """PostgreSQL locks nothing that was not said of the migration, and it reads no row of what it has locked."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    foretold = {each.name: each.locked for each in plan(settings)}
    found = {}
    with connect(settings, application_name="test") as connection:
        location_samples.load(connection, midnight=location_samples.DAY)
        connection.execute(WATCH)
        enter_schema(connection)
        make_roles(connection, lambda _: None)
        for migration in all_migrations():
            with connection.transaction() if migration.has_transaction else nullcontext():
                apply(connection, migration)
                found[migration.name] = _locked(connection)
                if "location" in found[migration.name]:
                    row = connection.execute(
                        "select current_setting('test.read')::bigint, "
                        "pg_stat_get_xact_tuples_returned('location'::regclass)"
                    ).fetchone()
                    assert row is not None
                    assert row[0] == row[1], f"{migration.name} reads location while it has it locked"
    assert found == foretold


def test_a_dry_run_changes_nothing_and_tells_each_migration(kamdbctl_url: str) -> None:
    """Each that is missing stands there with its purpose and its lock; afterwards none is, and that is said, too."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": kamdbctl_url}

    def dry_run() -> str:
        command: list[str | Path] = [COMMAND, "migrate", "--dry-run"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        location_samples.load(connection, midnight=location_samples.DAY)
        before = table_digests(connection)
        said = dry_run()
        assert table_digests(connection) == before
    for path in sorted((Path(__file__).parents[3] / "sql" / "schema" / "migrations").glob("*.sql")):
        assert f"\n{path.stem}: " in f"\n{said}"
    assert "0001-location: Locks location for some milliseconds" in said
    assert "0002-location-indexes: Locks no table of Kamailio's: the indexes are built beside the running proxy" in said
    assert "0005-subscribers: Locks subscriber against writers" in said
    assert "who may register, and to whom a registration belongs" in said
    assert "location loses the index location_expires_idx" in said
    migrate(settings)
    assert dry_run() == "the schema is current\n"


def test_a_dry_run_refuses_what_migrate_would_refuse(kamdbctl_url: str) -> None:
    """Another version of Kamailio's schema is told before anything is done."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("update version set table_version = 8 where table_name = 'location'")
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": kamdbctl_url}
    result = subprocess.run(
        [COMMAND, "migrate", "--dry-run"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert "version 8, not 9" in result.stderr


def test_the_head_of_a_migration_is_read() -> None:
    """Its purpose, what it locks, and whether it runs in a transaction; without the second it is none."""
    head = "-- What it is for,\n-- in two lines.\n-- Locks location, version for\n-- an instant.\n"
    read = read_migration("1-x", f"{head}\n-- Locks subscriber.\n")
    assert (read.purpose, read.lock) == ("What it is for,\nin two lines.", "Locks location, version for an instant.")
    assert read.locked == {"location", "version"}
    assert read.has_transaction
    read = read_migration("1-x", "-- For.\n-- Locks no table.\n-- Runs outside a transaction, slowly.\n\nselect 1;\n")
    assert read.lock == "Locks no table."
    assert read.locked == frozenset()
    assert not read.has_transaction
    with pytest.raises(ValueError, match=r"1-x: .*Locks"):
        read_migration("1-x", "-- What for.\n\n-- Locks location.\n")


@pytest.mark.parametrize(
    "before",
    [
        "",
        "alter table location set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05)",
        "drop index location_expires_idx, location_tcpcon_idx; drop index location_attrs_last_modified_idx",
        "alter table location alter user_agent type varchar(100), alter contact type varchar(400)",
        "alter table location alter contact type varchar(1024); create index own_idx on location (expires, socket)",
    ],
    ids=["kamdbctl's", "options", "indexes", "narrow", "the operator's own"],
)
def test_whatever_differs_in_kamailios_tables_was_told(kamdbctl_url: str, before: str) -> None:
    """Every line of the catalogs that is another one afterwards; and nothing was told that then did not happen."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(before.encode())
        old = snapshot(connection, KAMAILIO_TABLES)
        told = foretell(settings)
        assert snapshot(connection, KAMAILIO_TABLES) == old
        migrate(settings)
        new = snapshot(connection, KAMAILIO_TABLES)
    assert foretell(settings) == []
    used = {line: _telling(line, told) for line in old ^ new}
    assert [line for line, by in used.items() if not by] == []
    assert [line for line in told if line not in set().union(*used.values()) and " made;" not in line] == []


def _telling(line: str, told: list[str]) -> set[str]:
    """Those of the lines that tell of a line of the catalogs."""
    if line.startswith("location: owner"):
        return {each for each in told if each.startswith("location's ")}
    column = re.match(r"location: column (\w+) character varying", line)
    if column:
        return {each for each in told if each.startswith(f"location.{column[1]} gets ")}
    for pattern, said in (
        (r"location: (?:column|comment .* on) (\w+)", r"location gets the columns .*\b{}\b"),
        (r"(\w+): index CREATE INDEX (\w+) ", r"{} (?:gets|loses) the index.*\b{}\b"),
        (r"(\w+): trigger CREATE TRIGGER (\w+) ", r"{} gets the trigger {}:"),
        (r"(\w+): privilege (\w+) (\w+)(.*)", r"{1} may .*\b{2}{3}.* on {0};"),
    ):
        found = re.match(pattern, line)
        if found:
            wanted = re.compile(said.format(*map(re.escape, found.groups())))
            return {each for each in told if wanted.match(each)}
    return set()


def test_an_upgrade_tells_what_it_adds_alone(kamdbctl_url: str) -> None:
    """What an operator has changed since the first migrations is his, and no later one changes it again."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    migrate_to(kamdbctl_url, all_migrations()[-2].name)
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location set (fillfactor = 90)")
        connection.execute("create index location_expires_idx on location (expires)")
        old = snapshot(connection, KAMAILIO_TABLES)
        told = foretell(settings)
        migrate(settings)
        assert not any("location_expires_idx" in each or "fillfactor" in each for each in told)
        assert [line for line in old ^ snapshot(connection, KAMAILIO_TABLES) if not _telling(line, told)] == []


@pytest.mark.parametrize("tables", ["for table location", "for all tables"])
def test_a_publication_that_would_send_our_columns_is_told(kamdbctl_url: str, tables: str) -> None:
    """Its subscribers have no such columns; but for one that names the columns that it sends."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(f"create publication of_location {tables}".encode())
        if connection.info.server_version >= 15_00_00:
            connection.execute("create publication of_some for table location (id, ruid)")
        told = [each for each in foretell(DatabaseSettings(database_url=kamdbctl_url)) if "publication" in each]
        assert [each.partition(" sends ")[0] for each in told] == ["your publication of_location"]
        migrate(DatabaseSettings(database_url=kamdbctl_url))
    assert foretell(DatabaseSettings(database_url=kamdbctl_url)) == []


def test_the_roles_that_a_migration_makes_are_told(kamdbctl_url: str) -> None:
    """Those that the server has not got; another database of it may have had them made."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter role registrations_report rename to registrations_report_away")
        try:
            told = foretell(DatabaseSettings(database_url=kamdbctl_url))
        finally:
            connection.execute("alter role registrations_report_away rename to registrations_report")
    assert [each for each in told if each.startswith("the roles registrations_report are made")] != []
