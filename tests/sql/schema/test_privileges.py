"""What our roles need in a database: `check` and `migrate` look with the eyes of each, and name what mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner

from sql.cli import main
from sql.connections.database import connect
from sql.errors import SchemaRefused, SchemaStale
from sql.schema.changes import foretell
from sql.schema.migrate import migrate, plan
from sql.schema.record import require_current_schema
from sql.settings import DatabaseSettings
from tests.fixtures.kamdbctl import create_by_kamdbctl
from tests.stand.postgres import Cluster, cluster

STOCK = Path("/usr/share/kamailio/postgres")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Settings of roles are the whole cluster's."""
    with cluster(tmp_path_factory.mktemp("postgres")) as running:
        create_by_kamdbctl(running, "stock")
        yield running


@pytest.fixture
def url(own_cluster: Cluster) -> Iterator[str]:
    """A database of kamdbctl in that cluster, not migrated."""
    name = f"kamailio_{uuid4().hex[:8]}"
    with psycopg.connect(own_cluster.url(), autocommit=True) as admin:
        admin.execute(f"create database {name} template stock".encode())
        yield own_cluster.url(name)
        admin.execute(f"drop database {name} with (force)".encode())
        for (role,) in admin.execute("select rolname from pg_roles where rolname ~ '^registrations_'").fetchall():
            admin.execute(f"alter role {role} reset search_path".encode())


def _settings(url: str, user: str = "postgres") -> DatabaseSettings:
    return DatabaseSettings(database_url=url.replace("postgres@", f"{user}@"))


def _command(url: str, *arguments: str) -> tuple[int, str]:
    """Exit status of `registrations-db`, and what it said."""
    done = CliRunner().invoke(main, arguments, env={"REGISTRATIONS_DATABASE_URL": url})
    return done.exit_code, done.output


def _check(url: str) -> tuple[int, str]:
    return _command(url, "check")


def _execute(url: str, *commands: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for command in commands:
            connection.execute(command.encode())


def test_what_migrate_may_not_grant_it_says_and_fails(own_cluster: Cluster) -> None:
    """The owner of the tables owns neither database nor schema; whoever does is told what to execute."""
    name = f"owned_{uuid4().hex[:8]}"
    url = own_cluster.url(name)
    _execute(own_cluster.url(), f"create database {name}", "create role kowner login createrole")
    _execute(
        url,
        f"revoke connect on database {name} from public; grant connect on database {name} to kowner",
        "create schema kam; grant usage, create on schema kam to kowner",
        f"alter database {name} set search_path = kam",
    )
    try:
        settings = _settings(url, "kowner")
        told: list[str] = []
        plan(settings, report=told.append)
        assert f"after migrate: grant connect on database {name} to registrations_api; " in told[-1]
        assert "grant usage on schema kam to registrations_kamailio" in told[-1]
        with pytest.raises(SchemaRefused, match="this login could not do all that our roles need") as refused:
            migrate(settings)
        for command in (
            f"grant connect on database {name} to registrations_api",
            "grant usage on schema kam to registrations_kamailio",
        ):
            assert command in str(refused.value)
        assert "temporary" not in str(refused.value)  # everybody may
        status, said = _check(settings.database_url)
        assert status == 2
        assert f"registrations_sync lacks privileges: database {name}: connect, schema kam: usage" in said
        commands = re.findall(r"grant [^;]* to \w+", str(refused.value))
        _execute(url, *commands)
        # Without anything to make or to give, it needs no more than the tables.
        _execute(url, "alter role kowner nocreaterole")
        assert migrate(settings) == []
        assert _check(settings.database_url)[0] == 0
    finally:
        _execute(own_cluster.url(), f"drop database {name} with (force)", "drop role kowner")


SECRET = ("account", "auth_token", "device", "device_credentials", "directory_subscriber")


def test_default_privileges_for_everybody_do_not_open_secrets(url: str) -> None:
    """Neither when the tables are made, nor later; what is Kamailio's stays as the operator has it."""
    open_now = "select count(*) from unnest(%s::text[]) t where has_table_privilege('public', t, 'select')"
    _execute(url, "alter default privileges grant select on tables to public", "grant select on subscriber to public")
    migrate(_settings(url))
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(open_now, ([*SECRET],)).fetchone() == (0,)
        assert connection.execute(open_now, (["subscriber", "registrations"],)).fetchone() == (2,)
        connection.execute("grant insert on account to public")
    status, said = _check(url)
    assert (status, "everybody may use account" in said) == (2, True), said
    assert "revoke all on public.account from public" in said
    assert migrate(_settings(url)) == []
    assert _check(url)[0] == 0


@pytest.mark.parametrize("user", ["Boss", "the boss", 'a"b'])
def test_names_that_must_be_quoted(own_cluster: Cluster, user: str) -> None:
    """Of the login, which is no superuser, of the database and of the schema."""
    database = f"Voice {user} {uuid4().hex[:8]}"
    role, name = (f'"{each}"' for each in (user.replace('"', '""'), database.replace('"', '""')))
    url = own_cluster.url(database).replace("postgres@", f"{quote(user)}@")
    _execute(own_cluster.url(), f"create role {role} login createrole", f"create database {name} owner {role}")
    try:
        _execute(url, 'create schema "My-Schema"', f'alter database {name} set search_path = "My-Schema"')
        with psycopg.connect(url, autocommit=True) as connection:
            for file in ("standard", "usrloc", "auth_db"):
                connection.execute((STOCK / f"{file}-create.sql").read_bytes())
        _execute(url, "alter role current_user set default_transaction_read_only = on")
        status, said = _command(url, "migrate", "--dry-run")
        assert (status, f"transactions of role {role} are read-only" in said) == (1, True), said
        _execute(url, "set transaction_read_only = off; alter role current_user reset default_transaction_read_only")
        assert "migration(s) applied" in _command(url, "migrate")[1]
        _execute(url, 'revoke usage on schema "My-Schema" from registrations_sync')
        status, said = _check(url)
        assert (status, 'grant usage on schema "My-Schema" to registrations_sync' in said) == (2, True), said
        assert _command(url, "migrate") == (0, "1 privilege(s) given to registrations_sync\nthe schema is current\n")
        assert _check(url)[0] == 0
        _execute(own_cluster.url(database), "create publication p for all tables")
        assert "publication p" in _command(url, "widen", "id")[1]
        _execute(own_cluster.url(database), "drop publication p")
        assert _command(url, "widen", "id")[0] == 0
        assert _command(url, "uninstall", "--yes")[0] == 0
    finally:
        _execute(own_cluster.url(), f"drop database {name} with (force)", f"drop owned by {role}; drop role {role}")


TAKEN = {
    "connect": "revoke connect on database {database} from public, registrations_sync",
    "temporary": "revoke temporary on database {database} from public, registrations_import",
    "schema": "revoke usage on schema public from public, registrations_api",
    "table": "revoke insert on location from registrations_kamailio",
    "table of auth": "revoke select on directory_subscriber from registrations_kamailio",
    "column": "revoke update (owner_id) on location from registrations_sync",
    "sequence": "revoke usage on sequence location_id_seq from registrations_kamailio",
    "function": "revoke execute on function token_access(bytea, text) from registrations_api",
    "everybody's functions": "revoke execute on all functions in schema public from public",
    "functions of the owner": "grant execute on all functions in schema public to public",
    "everything": "revoke all on all tables in schema public from registrations_api, registrations_sync, "
    "registrations_kamailio, registrations_report, registrations_import",
}


@pytest.mark.parametrize("healed_by", ["check", "migrate"])
@pytest.mark.parametrize("taken", TAKEN)
def test_whatever_a_role_lacks_is_named_and_given_back(adopted_url: str, taken: str, healed_by: str) -> None:
    """By the commands that check names, or by migrate."""
    database = adopted_url.rpartition("/")[2]
    assert _check(adopted_url)[0] == 0
    _execute(adopted_url, TAKEN[taken].format(database=database))
    status, said = _check(adopted_url)
    assert status == 2, said
    if healed_by == "migrate":
        assert migrate(_settings(adopted_url)) == []
    else:
        _execute(adopted_url, *re.findall(r"FAULT +grants: .*\n.*\n +do:  (.*)", said))
    status, said = _check(adopted_url)
    assert status == 0, said
    assert foretell(_settings(adopted_url)) == []


def test_functions_that_are_private_by_default_reach_who_needs_them(own_cluster: Cluster) -> None:
    """A hardened server: what is created there is nobody's but its owner's."""
    name = "hardened"
    _execute(own_cluster.url(), f"create database {name} template stock")
    url = own_cluster.url(name)
    try:
        for kind in ("tables", "sequences", "functions"):
            _execute(url, f"alter default privileges revoke all on {kind} from public")
        assert migrate(_settings(url))
        assert _check(url)[0] == 0
    finally:
        _execute(own_cluster.url(), f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def adopted(own_cluster: Cluster) -> str:
    """A migrated database, to copy."""
    _execute(own_cluster.url(), "create database adopted template stock")
    migrate(_settings(own_cluster.url("adopted")))
    return "adopted"


@pytest.fixture
def adopted_url(own_cluster: Cluster, adopted: str) -> Iterator[str]:
    """A copy of it that no other test sees."""
    name = f"copy_{uuid4().hex[:8]}"
    _execute(own_cluster.url(), f"create database {name} template {adopted}")
    yield own_cluster.url(name)
    _execute(own_cluster.url(), f"drop database {name} with (force)")
    for role in ("registrations_sync", "registrations_api"):
        _execute(own_cluster.url(), f"alter role {role} reset search_path")


BLINDED = {
    "role": "alter role registrations_sync set search_path = elsewhere",
    "role in the database": "alter role registrations_sync in database {database} set search_path = elsewhere, kam",
    "schema of its name": "create schema registrations_sync authorization registrations_sync; "
    "create table registrations_sync.location (ruid text); "
    'alter role registrations_sync set search_path = "$user", public',
    "another table first": "create schema first; grant usage on schema first to registrations_sync; "
    "create table first.directory (); "
    "alter role registrations_sync in database {database} set search_path = first, public",
}


@pytest.mark.parametrize("blinded", BLINDED)
def test_a_role_that_does_not_find_our_tables_is_named(adopted_url: str, blinded: str) -> None:
    """By the search_path with which its sessions begin here; check and migrate name role, schema and the command."""
    database = adopted_url.rpartition("/")[2]
    _execute(adopted_url, BLINDED[blinded].format(database=database))
    cure = f"alter role registrations_sync in database {database} set search_path = public"
    status, said = _check(adopted_url)
    assert status == 2
    assert re.search(r"FAULT +search_path: our tables are in schema public, and role registrations_sync ", said)
    assert cure in said
    with pytest.raises(SchemaRefused, match=f"role registrations_sync .*: {cure}"):
        migrate(_settings(adopted_url))
    _execute(adopted_url, cure)
    assert migrate(_settings(adopted_url)) == []
    assert _check(adopted_url)[0] == 0


@pytest.mark.parametrize(
    "path",
    [
        "alter role registrations_sync set search_path = elsewhere, public",
        'alter role registrations_sync set search_path = "$user", public',
        # where it may use no schema of that name PostgreSQL passes it by
        "create schema closed; create table closed.location (ruid text); "
        "alter role registrations_sync set search_path = closed, public",
        "alter role registrations_sync set search_path = elsewhere; "
        "alter role registrations_sync in database {database} set search_path = public",
    ],
)
def test_a_role_that_finds_our_tables_is_not_named(adopted_url: str, path: str) -> None:
    """Wherever its search_path passes before, and whichever of its settings is in force."""
    _execute(adopted_url, path.format(database=adopted_url.rpartition("/")[2]))
    assert migrate(_settings(adopted_url)) == []
    assert _check(adopted_url)[0] == 0
    with connect(_settings(adopted_url, "registrations_sync"), application_name="test") as worker:
        require_current_schema(worker)


def test_a_worker_in_the_wrong_schema_is_told_where_ours_is(adopted_url: str) -> None:
    """It is not told to migrate again: neither for its search_path, nor for a schema that it may not use."""
    database = adopted_url.rpartition("/")[2]
    worker = _settings(adopted_url, "registrations_sync")
    blind = f"alter role registrations_sync in database {database} set search_path = "
    for taken, given in (
        (f"{blind} elsewhere", f"{blind}public"),
        (
            "revoke usage on schema public from public, registrations_sync",
            "grant usage on schema public to registrations_sync",
        ),
    ):
        _execute(adopted_url, taken)
        with (
            pytest.raises(SchemaStale, match=f"schema public has them \\({given}\\)"),
            connect(worker, application_name="test") as connection,
        ):
            require_current_schema(connection)
        status, said = _check(worker.database_url)
        assert status == 2
        assert given in said
        assert "migrations are missing" not in said
        _execute(adopted_url, given)


def test_a_login_whose_schema_is_another_than_usrlocs_is_refused(url: str) -> None:
    """Its search_path begins with a schema of its own: there nobody would look for our tables. Nothing is made."""
    _execute(url, "create role dba login superuser")
    try:
        _execute(url, "create schema dba")
        database = url.rpartition("/")[2]
        with pytest.raises(SchemaRefused, match=f"alter role dba in database {database} set search_path = public"):
            migrate(_settings(url, "dba"))
        with psycopg.connect(url) as connection:
            tables = connection.execute("select count(*) from pg_class where relnamespace = 'dba'::regnamespace")
            assert tables.fetchone() == (0,)
        assert len(migrate(_settings(url))) > 0
        for command in ("uninstall --yes", "alter select", "widen id"):
            status, said = _command(_settings(url, "dba").database_url, *command.split())
            assert status == 1
            assert "search_path = public" in said
    finally:
        _execute(url, "drop schema dba; drop role dba")


def test_a_second_kamailio_has_a_schema_of_its_own(adopted_url: str) -> None:
    """Whose logins name it in their URL, as who migrates does: that is told, and is no fault."""
    _execute(adopted_url, "create schema kam")
    with psycopg.connect(adopted_url, autocommit=True, options="-csearch_path=kam") as connection:
        for part in ("standard", "usrloc", "auth_db"):
            script = (STOCK / f"{part}-create.sql").read_text(encoding="utf-8")
            connection.execute(script.encode())  # as kamdbctl does
    told: list[str] = []
    settings = DatabaseSettings(database_url=f"{adopted_url}?options=-csearch_path%3Dkam")
    assert len(migrate(settings, report=told.append)) > 0
    assert any("role registrations_sync looks into schema public first, unless its URL" in line for line in told)
    status, said = _check(settings.database_url)
    assert status == 0, said
    assert "NOTE     search_path: our tables are in schema kam" in said
    assert _check(adopted_url)[0] == 0


def test_a_table_version_without_usrlocs_row_is_named(url: str) -> None:
    """As where its data was not restored; nothing is changed."""
    _execute(url, "delete from version")
    with pytest.raises(SchemaRefused, match="table version has no row for location"):
        migrate(_settings(url))
    _execute(url, "insert into version (table_name, table_version) values ('location', 9)")
    assert len(migrate(_settings(url))) > 0
