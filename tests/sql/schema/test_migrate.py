"""Migrations: from nothing and from kamdbctl, on a live proxy, twice, and equal to what schema.sql says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from sql.connections.database import connect
from sql.errors import SchemaRefused, SchemaStale
from sql.kamailio_tables.widening import widen
from sql.schema.changes import foretell
from sql.schema.migrate import migrate, plan
from sql.schema.migration import all_migrations
from sql.schema.record import require_current_schema
from sql.schema.uninstall import uninstall
from sql.settings import DatabaseSettings
from tests.sql.registrations import location_samples
from tests.stand import schema
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

MIGRATIONS = len(all_migrations())
LOCATION_COLUMNS_OF_OURS = {
    "account_id",
    "device_id",
    "owner_id",
    "enriched_at",
    "first_registered_at",
    "device_state",
    "flushed_epoch",
    "flushed_cseq",
    "flushed_callid",
}


def _columns(connection: psycopg.Connection, table: str) -> dict[str, str]:
    rows = connection.execute(
        "select column_name, data_type from information_schema.columns where table_name = %s order by ordinal_position",
        (table,),
    )
    return {row[0]: row[1] for row in rows}


def test_a_database_of_kamdbctl_keeps_its_rows_and_its_types(kamdbctl_url: str) -> None:
    """Every row and TIMESTAMP stays, subscribers too; our columns stand behind Kamailio's."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        location_samples.load(connection, midnight=location_samples.DAY)
        connection.execute("insert into subscriber (username, domain, ha1) values ('old', 'example.com', 'x')")
        before = connection.execute("select * from location order by id").fetchall()
        columns = list(_columns(connection, "location"))
        assert len(migrate(DatabaseSettings(database_url=kamdbctl_url))) > 0
        after = connection.execute("select * from location order by id").fetchall()
        types = _columns(connection, "location")
        assert [row[: len(columns)] for row in after] == before
        assert set(types) - set(columns) == LOCATION_COLUMNS_OF_OURS
        assert types["expires"] == types["last_modified"] == "timestamp without time zone"
        assert connection.execute("select username from subscriber").fetchall() == [("old",)]
        assert connection.execute("select count(*) from directory_subscriber").fetchone() == (0,)
        assert migrate(DatabaseSettings(database_url=kamdbctl_url)) == []


def test_a_fresh_location_is_usrlocs_table_version_9(database: psycopg.Connection, kamdbctl_url: str) -> None:
    """The same columns in the same order as kamdbctl makes, but for BIGINT ids and times, and the version row."""
    ours = _columns(database, "location")
    with psycopg.connect(kamdbctl_url) as stock:
        theirs = _columns(stock, "location")
        assert stock.execute("select table_version from version where table_name = 'location'").fetchone() == (9,)
    assert list(ours)[: len(theirs)] == list(theirs)
    differing = {name for name, kind in theirs.items() if ours[name] != kind}
    assert differing == {"id", "expires", "last_modified"}
    assert {ours[name] for name in differing} == {"bigint"}
    assert _columns(database, "location_attrs")["id"] == "bigint"
    sequences = (
        "select data_type::text from pg_sequences where sequencename in ('location_id_seq', 'location_attrs_id_seq')"
    )
    assert database.execute(sequences).fetchall() == [("bigint",), ("bigint",)]
    version = database.execute("select table_version from version where table_name = 'location'").fetchone()
    assert version == (9,)


def test_a_refresh_is_a_heap_only_update(database: psycopg.Connection, kamdbctl_url: str) -> None:
    """No index covers what a refresh changes, also on a table of kamdbctl, which had one on expires."""
    if database.info.server_version < 150000:
        pytest.skip("there a session cannot be told to report its counts")
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as adopted:
        for connection in (database, adopted):
            location_samples.load(connection, midnight=location_samples.DAY)
            connection.execute("update location set enriched_at = now(), account_id = 'a'")
            connection.execute("vacuum location")
            connection.execute("select pg_stat_force_next_flush()")
            connection.execute("select pg_stat_reset()")
            ruids = [row[0] for row in connection.execute("select ruid from location where ruid like 'uloc%'")]
            for ruid in ruids:
                # As usrloc's db_update_ucontact: all of its columns but ruid, username, domain and partition.
                connection.execute(
                    "update location set expires = (select max(expires) from location), "
                    "last_modified = (select max(last_modified) from location), cseq = cseq + 1, "
                    "callid = callid || '2', user_agent = user_agent, q = q, contact = contact, socket = socket "
                    "where ruid = %s",
                    (ruid,),
                )
            connection.execute("select pg_stat_force_next_flush()")
            updates = connection.execute(
                "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'location'"
            ).fetchone()
            assert updates == (len(ruids), len(ruids))


def test_schema_sql_is_what_the_migrations_make(database: psycopg.Connection, postgres: Cluster) -> None:
    """schema.sql and grants.csv are the whole truth, for a reader and for `check`; `make schema` writes them.

    Each version of PostgreSQL has words of its own for a view: so both are read and written once more by this one.
    """

    def again(text: str) -> str:
        database.execute("create database again")
        try:
            with psycopg.connect(postgres.url("again"), autocommit=True) as connection:
                connection.execute(text.encode())
            return schema.dump(postgres.url("again"))
        finally:
            database.execute("drop database again")

    url = postgres.url(database.info.dbname)
    assert again(schema.FILE.read_text(encoding="utf-8")) == again(schema.dump(url))
    assert schema.dump_grants(url) == schema.GRANTS_FILE.read_text(encoding="utf-8")


UNCOMMENTED = """
    select c.oid::regclass::text from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
        and c.relname not in ('location', 'location_attrs', 'version') and obj_description(c.oid, 'pg_class') is null
    union all
    select format('%%s.%%s', c.oid::regclass, a.attname)
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
        and (c.relname not in ('location', 'location_attrs', 'version') or a.attname = any (%s))
        and col_description(c.oid, a.attnum) is null
    union all
    select oid::regprocedure::text from pg_proc
    where pronamespace = 'public'::regnamespace and obj_description(oid, 'pg_proc') is null
    union all
    select oid::regtype::text from pg_type
    where typnamespace = 'public'::regnamespace and typtype = 'd' and obj_description(oid, 'pg_type') is null
"""


def test_everything_of_ours_has_a_comment(database: psycopg.Connection) -> None:
    """Each table, view, column, function and domain, for who reads schema.sql or `\\d+`."""
    assert database.execute(UNCOMMENTED, (list(LOCATION_COLUMNS_OF_OURS),)).fetchall() == []


def test_a_busy_table_is_not_waited_for(kamdbctl_url: str) -> None:
    """No lock of ours queues before Kamailio's while a session holds location, which is named; then it is done."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    waiting = threading.Event()

    def report(line: str) -> None:
        if named in line:
            waiting.set()

    with (
        psycopg.connect(kamdbctl_url, application_name="a report") as holder,
        ThreadPoolExecutor() as pool,
    ):
        named = (
            f"a table is in use by process {holder.info.backend_pid} (role postgres, a report, from 127.0.0.1, idle in "
        )
        holder.execute("select count(*) from location")
        migrating = pool.submit(migrate, settings, report=report)
        assert waiting.wait(30)
        # A REGISTER meanwhile is not behind us in the queue for longer than our lock timeout.
        with psycopg.connect(kamdbctl_url, autocommit=True, options="-c statement_timeout=2s") as sip_worker:
            sip_worker.execute("insert into location (ruid, username) values ('r', 'bob')")
        holder.rollback()
        assert len(migrating.result(timeout=60)) == MIGRATIONS


@pytest.mark.parametrize("command", ["migrate", "widen", "uninstall"])
def test_who_keeps_an_index_from_being_built_is_named(kamdbctl_url: str, command: str) -> None:
    """A transaction that sees the table as it was, and holds no lock on it: PostgreSQL waits until it ends."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    run: dict[str, Callable[..., object]] = {
        "migrate": partial(migrate, settings),
        "widen": partial(widen, settings, "id", None),
        "uninstall": partial(uninstall, settings),
    }
    if command != "migrate":
        migrate(settings)
    told: list[str] = []
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(kamdbctl_url, application_name="a report") as holder,
    ):
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("select count(*) from version")
        named = f": waiting for process {holder.info.backend_pid} (role postgres, a report, from 127.0.0.1, idle in "
        running = pool.submit(run[command], report=told.append)
        try:
            wait_until(lambda: any(named in line for line in told), 30, "the holder to be told")
        finally:
            holder.rollback()
        running.result(timeout=60)


def test_two_migrations_at_once_are_one(kamdbctl_url: str) -> None:
    """The second waits for the first and finds nothing to do."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(migrate, settings) for _ in range(2)]
        applied = sorted(len(run.result(timeout=60)) for run in runs)
    assert applied == [0, MIGRATIONS]


def test_who_keeps_others_from_migrating_is_named(kamdbctl_url: str) -> None:
    """Any login can take that lock; the operator can end its session."""
    told: list[str] = []
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(kamdbctl_url, autocommit=True, application_name="a pool") as thief,
    ):
        thief.execute(
            "select pg_advisory_lock(hashtextextended('kamailio-registrations migrate ' || current_database(), 0))"
        )
        pid = thief.info.backend_pid
        migrating = pool.submit(migrate, DatabaseSettings(database_url=kamdbctl_url), report=told.append)
        wait_until(lambda: told, 10, "the holder to be told")
    migrating.result(timeout=60)
    assert re.search(rf"process {pid} \(role postgres, a pool, from 127\.0\.0\.1, idle, connected since 20", told[0])


def test_another_version_of_location_is_refused(kamdbctl_url: str) -> None:
    """The message says what to do, and nothing was changed."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("update version set table_version = 8 where table_name = 'location'")
        with pytest.raises(SchemaRefused, match="version 8, not 9"):
            migrate(DatabaseSettings(database_url=kamdbctl_url))
        assert not LOCATION_COLUMNS_OF_OURS & set(_columns(connection, "location"))


def test_a_stale_schema_is_told_from_a_current_one(kamdbctl_url: str, database_url: str) -> None:
    """Daemons refuse the one with the command that cures it."""
    with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
        require_current_schema(connection)
    with (
        pytest.raises(SchemaStale, match="registrations-db migrate"),
        connect(DatabaseSettings(database_url=kamdbctl_url), application_name="test") as connection,
    ):
        require_current_schema(connection)


def test_facts_of_the_site_are_written_and_kept(database: psycopg.Connection, database_url: str) -> None:
    """What is set goes into the database, what is not set stays as it is there."""
    migrate(
        DatabaseSettings(
            database_url=database_url,
            kamailio_timezone="Europe/Berlin",
            kamailio_default_realm="Example.COM",
            kamailio_nodes="1=kamailio@sip1.example.com, 2=edge",
        )
    )
    migrate(DatabaseSettings(database_url=database_url))
    facts = database.execute("select kamailio_timezone(), kamailio_default_realm()").fetchone()
    assert facts == ("Europe/Berlin", "example.com")
    nodes = database.execute("select server_id, name, hostname from kamailio_node order by 1").fetchall()
    assert nodes == [(1, "kamailio@sip1.example.com", "sip1.example.com"), (2, "edge", "edge")]


def test_a_timestamp_is_read_in_kamailios_zone(kamdbctl_url: str) -> None:
    """TIMESTAMP columns hold Kamailio's wall clock; the setting names its zone."""
    migrate(DatabaseSettings(database_url=kamdbctl_url, kamailio_timezone="America/New_York"))
    with psycopg.connect(kamdbctl_url) as connection:
        # 16:00:38 in New York was 21:00:38 UTC on 2026-11-21: 1795294838 by `date -u -d '2026-11-21 21:00:38' +%s`.
        row = connection.execute(
            "select registration_epoch('2026-11-21 16:00:38'::timestamp), "
            "registration_epoch('1969-12-31 19:00:00'::timestamp)"
        ).fetchone()
    assert row == (1795294838, 0)


def test_a_refused_login_or_a_wrong_setting_is_one_line(postgres: Cluster) -> None:
    """registrations-db names what is wrong, without a traceback, and exits with what means unknown to monitoring."""
    command = Path(sys.executable).parent / "registrations-db"
    for variable, value, expected in (
        ("REGISTRATIONS_DATABASE_URL", "", "REGISTRATIONS_DATABASE_URL"),
        ("REGISTRATIONS_DATABASE_URL", None, "REGISTRATIONS_DATABASE_URL: is not set"),
        ("REGISTRATIONS_DATABASE_URL", postgres.url(f"missing_{uuid4().hex}"), "does not exist"),
        ("REGISTRATIONS_DATABASE_URL", postgres.url(user="nobody"), "correct REGISTRATIONS_DATABASE_URL"),
        ("REGISTRATIONS_DATABASE_URL", "postgresql://127.0.0.1:1/x", "Connection refused"),
        ("REGISTRATIONS_KAMAILIO_TIMEZONE", "Mars/Base", "Mars/Base"),
        ("REGISTRATIONS_KAMAILIO_NODES", "1=a,1=b", "server_id 1 has two names"),
    ):
        environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": postgres.url()}
        environment.pop(variable, None)
        environment |= {variable: value} if value is not None else {}
        result = subprocess.run(
            [command, "check"], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert result.returncode == 3
        assert expected in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_a_database_without_usrlocs_table_is_remarked_upon(postgres: Cluster) -> None:
    """It may be a new proxy's, or another database that was named by mistake: beforehand, and while it is done."""
    command = Path(sys.executable).parent / "registrations-db"
    name = f"new_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": postgres.url(name)}
    remark = f"database {name} has no table location in schema public: usrloc's tables are made there"
    for options, told in ((["--dry-run"], True), ([], True), ([], False)):
        result = subprocess.run(
            [command, "migrate", *options], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert (remark in result.stderr) == told


def test_a_location_in_another_schema_is_mentioned_where_this_one_was_chosen(kamdbctl_url: str) -> None:
    """A second set of tables may be meant; if not, it is told where the phones are."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("create schema other")
    told: list[str] = []
    url = f"{kamdbctl_url}{'&' if '?' in kamdbctl_url else '?'}options=-csearch_path%3Dother"
    plan(DatabaseSettings(database_url=url), report=told.append)
    assert any("no table location in schema other" in line and line.endswith("one in schema public") for line in told)


ARCHIVE = """
    create table archive (like location);
    create function archive() returns trigger language plpgsql as $$
    begin
        insert into archive values (old.*);
        return old;
    end $$;
    create trigger archive after {when} on location for each row execute function archive();
"""


@pytest.mark.parametrize("when", ["update", "delete"])
def test_a_trigger_that_would_fail_with_more_columns_is_refused(kamdbctl_url: str, when: str) -> None:
    """A phone would be answered 500 at its refresh, or when it goes; nothing is changed, and the trigger is named."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(ARCHIVE.format(when=when))
        before = _columns(connection, "location")
        (told,) = (line for line in foretell(settings) if "your trigger archive of location" in line)
        assert "with the rights of registrations_sync and registrations_api" in told
        with pytest.raises(SchemaRefused, match=r"0001-location: .* function archive\(\) line 3"):
            migrate(settings)
        assert _columns(connection, "location") == before
        names = ", ".join(before)
        body = f"insert into archive ({names}) values ({', '.join(f'old.{name}' for name in before)}); return old;"
        connection.execute(
            f"create or replace function archive() returns trigger language plpgsql as $$ begin {body} end $$"
        )
        migrate(settings)
        assert connection.execute("select from archive").fetchall() == []
        assert connection.execute("select from location").fetchall() == []


def test_a_row_that_was_refused_before_refuses_nothing(kamdbctl_url: str) -> None:
    """The operator's own rules for rows are not ours to judge."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location add check (contact like 'sip%')")
        migrate(DatabaseSettings(database_url=kamdbctl_url))
