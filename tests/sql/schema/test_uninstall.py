"""`registrations-db uninstall`: what is left is what `kamdbctl create` made, with its rows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from sql.connections.database import connect
from sql.errors import SchemaRefused
from sql.schema.migrate import migrate
from sql.schema.own_objects import ROLES
from sql.schema.uninstall import UNINSTALL_COMMAND, uninstall
from sql.settings import DatabaseSettings
from tests.fixtures.kamdbctl import create_by_kamdbctl
from tests.sql.registrations import location_samples
from tests.stand.postgres import Cluster, bin_directory, cluster

COMMAND = Path(sys.executable).parent / "registrations-db"
LAST_STEP = "everything that is ours, columns of location last"


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Roles are the whole cluster's: here no other database needs them. It has a database of kamdbctl to copy."""
    with cluster(tmp_path_factory.mktemp("postgres")) as running:
        create_by_kamdbctl(running, "stock")
        yield running


@pytest.fixture
def stock_url(own_cluster: Cluster) -> Iterator[str]:
    """A database of kamdbctl, with rows, in a cluster that knows nothing of ours."""
    url = own_cluster.url("kamailio")
    with psycopg.connect(own_cluster.url(), autocommit=True) as admin:
        admin.execute("create database kamailio template stock")
    with psycopg.connect(url, autocommit=True) as connection:
        location_samples.load(connection, midnight=location_samples.DAY)
        connection.execute("insert into subscriber (username, domain, ha1) values ('old', 'example.com', 'x')")
    yield url
    with psycopg.connect(own_cluster.url(), autocommit=True) as admin:
        admin.execute("drop database kamailio with (force)")
        for role in ROLES:
            admin.execute(f"drop role if exists {role}")


def _schema(url: str) -> str:
    """All that pg_dump knows, owners, privileges and comments too; without what is random in it."""
    dumped = subprocess.run(
        [bin_directory() / "pg_dump", "--schema-only", url], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)


def _rows(url: str) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        queries = ("select * from location order by id", "select * from version order by table_name")
        return [connection.execute(query).fetchall() for query in (*queries, "select * from subscriber")]


def _roles(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("select rolname from pg_roles where rolname ~ '^registrations_'")}


def _command(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url}
    command: list[str | Path] = [COMMAND, "uninstall", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_left_is_what_kamdbctl_made(stock_url: str) -> None:
    """Equal to the last privilege, with every row; a second time is no harm, and it can be installed again."""
    settings = DatabaseSettings(database_url=stock_url)
    schema, rows = _schema(stock_url), _rows(stock_url)
    migrate(settings)
    with psycopg.connect(stock_url, autocommit=True) as connection:
        connection.execute("grant registrations_kamailio to kamailio")
        connection.execute("alter role registrations_api password 'secret'")
        connection.execute("insert into account (id, name, realm) values ('a', 'A', 'a.example.net')")
        connection.execute("update location set account_id = 'a', enriched_at = now()")
    assert _roles(stock_url) == set(ROLES)
    for _ in range(2):
        done = _command(stock_url, "--yes")
        assert done.returncode == 0, done.stderr
        assert _schema(stock_url) == schema
        assert _rows(stock_url) == rows
        assert _roles(stock_url) == set()
    assert migrate(settings)


def test_without_yes_it_only_says_what_would_go(stock_url: str) -> None:
    """Each view, table and column by its name; the database stays as it is."""
    never = _command(stock_url)
    assert never.returncode == 0
    assert never.stdout == "nothing of ours is in the database\n"
    migrate(DatabaseSettings(database_url=stock_url))
    schema = _schema(stock_url)
    said = _command(stock_url)
    assert said.returncode == 0
    assert "nothing was changed" in said.stdout
    for name in ("registrations", "account", "flush_binding", "device_state", "location_account_id_idx", *ROLES):
        assert re.search(rf"\b{name}\b", said.stdout), name
    others = said.stdout.replace("trigger of subscriber: directory_note_change", "")
    assert not re.search(r"\bsubscriber\b", others), "that table is Kamailio's"
    assert _schema(stock_url) == schema


def test_a_role_that_another_database_needs_stays(stock_url: str, own_cluster: Cluster) -> None:
    """That is said, and with the last database that needs it, it goes."""
    with psycopg.connect(own_cluster.url(), autocommit=True) as admin:
        admin.execute("create database second")
    try:
        for url in (stock_url, own_cluster.url("second")):
            migrate(DatabaseSettings(database_url=url))
        done = _command(stock_url, "--yes")
        assert done.returncode == 0, done.stderr
        assert "role registrations_api stays" in done.stderr
        assert _roles(stock_url) == set(ROLES)
        assert _command(own_cluster.url("second"), "--yes").returncode == 0
        assert _roles(stock_url) == set()
    finally:
        with psycopg.connect(own_cluster.url(), autocommit=True) as admin:
            admin.execute("drop database second with (force)")


def test_what_the_operator_built_on_it_is_not_taken_along(stock_url: str) -> None:
    """A report of his stops the whole, by its name, and nothing is changed."""
    migrate(DatabaseSettings(database_url=stock_url))
    with psycopg.connect(stock_url, autocommit=True) as connection:
        connection.execute("create view my_report as select username, user_agent from registrations")
    schema = _schema(stock_url)
    refused = _command(stock_url, "--yes")
    assert refused.returncode == 1
    assert "view my_report depends on view registrations" in refused.stderr
    assert _schema(stock_url) == schema


def test_what_goes_with_our_tables_is_told(stock_url: str, own_cluster: Cluster) -> None:
    """Privileges of the operator's roles are no obstacle; what is one is told by the command that changes nothing."""
    migrate(DatabaseSettings(database_url=stock_url))
    with psycopg.connect(stock_url, autocommit=True) as connection:
        connection.execute("create role my_reader; grant select on registrations to my_reader")
        connection.execute("grant select on location to registrations_report with grant option")
        connection.execute("set role registrations_report; grant select on location to my_reader; reset role")
        connection.execute("create policy my_policy on account using (true)")
        try:
            said = _command(stock_url).stdout
            assert "what these may there: my_reader" in said
            assert "--yes would refuse: policy my_policy on table account" in said
            connection.execute("drop policy my_policy on account")
            done = _command(stock_url, "--yes")
            assert done.returncode == 0, done.stderr
            assert "role registrations_report stays" in done.stderr
            assert _roles(stock_url) == {"registrations_report"}
        finally:
            connection.execute("revoke all on location from registrations_report cascade; drop role my_reader")


def test_it_waits_for_worker_and_api_to_be_stopped(stock_url: str) -> None:
    """They would fail on every statement; the message names them."""
    settings = DatabaseSettings(database_url=stock_url)
    migrate(settings)
    with (
        connect(settings, application_name="registrations-sync leader"),
        pytest.raises(SchemaRefused, match=r"still connected: registrations-sync leader; stop worker and API first"),
    ):
        uninstall(settings)


def test_an_empty_database_keeps_usrlocs_tables(own_cluster: Cluster) -> None:
    """Where Kamailio's tables were made by us they stay, with their BIGINT columns: the proxy still needs them."""
    with psycopg.connect(own_cluster.url(), autocommit=True) as admin:
        admin.execute("create database fresh")
        migrate(DatabaseSettings(database_url=own_cluster.url("fresh")))
        uninstall(DatabaseSettings(database_url=own_cluster.url("fresh")))
        with psycopg.connect(own_cluster.url("fresh")) as connection:
            tables = connection.execute(
                "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
            )
            assert {row[0] for row in tables} == {"location", "location_attrs", "version"}
        admin.execute("drop database fresh with (force)")


def test_no_register_waits_behind_it(stock_url: str) -> None:
    """While another session holds location, no lock of ours queues before Kamailio's for longer than an instant."""
    settings = DatabaseSettings(database_url=stock_url)
    migrate(settings)
    waiting = threading.Event()

    with psycopg.connect(stock_url) as reader, ThreadPoolExecutor() as pool:

        def report(line: str) -> None:
            if line == LAST_STEP:
                reader.execute("select count(*) from location")
            if line.startswith(f"{LAST_STEP}: a table is in use"):
                waiting.set()

        leaving = pool.submit(uninstall, settings, report=report)
        assert waiting.wait(60)
        with psycopg.connect(stock_url, autocommit=True, options="-c statement_timeout=2s") as sip_worker:
            sip_worker.execute("insert into location (ruid, username) values ('r', 'bob')")
        reader.rollback()
        leaving.result(timeout=60)


def test_nobody_waits_to_log_in_while_our_own_tables_go(stock_url: str) -> None:
    """While another session reads a table of ours, auth_db finds subscriber unlocked at every attempt."""
    settings = DatabaseSettings(database_url=stock_url)
    migrate(settings)
    attempts: list[str] = []

    with (
        psycopg.connect(stock_url) as reader,
        psycopg.connect(stock_url, autocommit=True) as auth_db,
        ThreadPoolExecutor() as pool,
    ):

        def report(line: str) -> None:
            if line == LAST_STEP:
                reader.execute("select from flush")

        leaving = pool.submit(uninstall, settings, report=report)
        waits = "select true from pg_stat_activity where application_name = %s and wait_event = 'relation'"
        while len(attempts) < 20:
            assert not leaving.done(), leaving.result()
            if auth_db.execute(waits, (UNINSTALL_COMMAND,)).fetchone():
                attempts.append("waits for flush")
                auth_db.execute("begin; lock table subscriber in access share mode nowait; commit")
        reader.rollback()
        leaving.result(timeout=60)
