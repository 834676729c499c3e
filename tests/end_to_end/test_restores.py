"""After a dump was restored or a cluster upgraded, `migrate` makes everything work as before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from api.app import create_app
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.directory.subscribers import leave_subscriber
from sql.errors import SchemaRefused, SchemaStale
from sql.schema.migrate import migrate
from sql.schema.own_objects import ROLES
from sql.schema.record import require_current_schema
from sql.settings import DatabaseSettings
from sql.worker.enrichment import enrich
from tests.fixtures.http import NOWHERE
from tests.fixtures.kamdbctl import create_by_kamdbctl
from tests.stand.postgres import SUPERUSER, Cluster, as_postgres, bin_directory, cluster
from tests.stand.process import free_port

pytestmark = pytest.mark.long

COMMAND = Path(sys.executable).parent / "registrations-db"
SCHEMA = "Kam, 1"
# A tree of accounts, an owner, devices of both accounts, and a registration from before the dump.
DIRECTORY = """
    insert into account (id, parent_id, name, realm)
        values ('top', null, 'Top', 'top.test'), ('a', 'top', 'A', 'a.test');
    insert into owner (id, account_id, name) values ('anna', 'a', 'Anna');
    insert into device (id, account_id, owner_id, sip_username, ha1)
        values ('d1', 'a', 'anna', 'anna', repeat('0', 32)), ('d2', 'top', null, 'bob', repeat('1', 32));
"""


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def _program(name: str) -> Path:
    return bin_directory() / name


def _create(server: Cluster) -> str:
    name = f"restored_{uuid4().hex[:8]}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return name


def _register(server: Cluster, dbname: str, username: str) -> None:
    """Insert a row as usrloc does, with the rights of Kamailio's role."""
    with psycopg.connect(server.url(dbname, user="registrations_kamailio"), autocommit=True) as kamailio:
        of_time = (
            "select data_type from information_schema.columns where table_name = 'location' and column_name = 'expires'"
        )
        timestamps = kamailio.execute(of_time.encode()).fetchone() != ("bigint",)
        now = int(time.time())
        at = "timestamp 'epoch' + interval '1 second' * %s" if timestamps else "%s::bigint"
        kamailio.execute(
            f"insert into location (ruid, username, domain, contact, callid, expires, last_modified, server_id) "
            f"values (%s, %s, 'a.test', 'sip:x@192.0.2.1', %s, {at}, {at}, 1)".encode(),
            (f"uloc-{username}-{dbname}", username, f"call-{username}", now + 3600, now),
        )


def _list(server: Cluster, dbname: str, token: str) -> list[tuple[str, str]]:
    """Return usernames and devices in the API's list of the account, read with the rights of its role."""
    settings = DatabaseSettings(database_url=server.url(dbname, user="registrations_api"))
    app = create_app(ApiSettings(), settings, KamailioSettings(kamailio_rpc=NOWHERE))
    with closing(app.extensions["database"]):
        answer = app.test_client().get("/v2/accounts/a/registrations", headers={"X-Auth-Token": token})
    assert answer.status_code == 200, answer.text
    return sorted((each["username"], each["authorizing_id"]) for each in answer.get_json()["data"])


def _enrich(server: Cluster, dbname: str) -> int:
    settings = DatabaseSettings(database_url=server.url(dbname, user="registrations_sync"))
    with connect(settings, application_name="test") as worker:
        require_current_schema(worker)
        return enrich(worker)


def _require_working(server: Cluster, dbname: str, token: str) -> None:
    """Check that `migrate` and `check` find nothing to do, and that each role can do its work."""
    url = server.url(dbname)
    assert "the schema is current" in _run(COMMAND, "migrate", REGISTRATIONS_DATABASE_URL=url)
    assert re.fullmatch("the schema is current\n", _run(COMMAND, "migrate", REGISTRATIONS_DATABASE_URL=url))
    assert "fault" not in _run(COMMAND, "check", REGISTRATIONS_DATABASE_URL=url)
    _register(server, dbname, "Anna")
    assert _enrich(server, dbname) == 1
    assert _list(server, dbname, token) == [("Anna", "d1"), ("carl", "")]
    with psycopg.connect(url) as connection:
        # The directory's triggers and defaults exist as well.
        connection.execute(
            "insert into device (id, account_id, sip_username, ha1) values ('d3', 'a', 'eve', repeat('2', 32))"
        )
        connection.execute("set constraints all immediate")
        auth = "coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber'))::text"
        name = connection.execute(f"select {auth}".encode()).fetchone()
        assert name is not None
        rows = connection.execute(f"select username, domain from {name[0]} order by 1".encode()).fetchall()
        assert rows == [("anna", "a.test"), ("bob", "top.test"), ("eve", "a.test")]
        connection.rollback()


def _fill(server: Cluster, dbname: str) -> str:
    """Migrate a database, add a directory and a registered phone, and return a token."""
    settings = DatabaseSettings(database_url=server.url(dbname))
    migrate(settings)
    with connect(settings, application_name="test") as connection:
        connection.execute(DIRECTORY.encode())
        with connection.transaction():
            leave_subscriber(connection)
        token = create_token(connection, "a", idle_lifetime=None)[1]
    _register(server, dbname, "carl")
    assert _enrich(server, dbname) == 1
    return token


@pytest.fixture(scope="module")
def source(postgres: Cluster, kamdbctl_template: str) -> Iterator[tuple[str, str]]:
    """A database of kamdbctl in use, and a token."""
    name = f"source_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name} template {kamdbctl_template}".encode())
        yield name, _fill(postgres, name)
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def restored(postgres: Cluster) -> Iterator[str]:
    """An empty database with another name in the same cluster, which has our roles."""
    name = _create(postgres)
    yield name
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)".encode())


def _restore(url: str, *options: str | Path) -> None:
    _run(_program("pg_restore"), "--exit-on-error", f"--dbname={url}", *options)


def _plain(source: str, target: str, files: Path) -> None:
    _run(_program("pg_dump"), f"--file={files}/dump.sql", source)
    _run(_program("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={files}/dump.sql", target)


def _custom(source: str, target: str, files: Path) -> None:
    _run(_program("pg_dump"), "--format=custom", f"--file={files}/dump", source)
    _restore(target, files / "dump")


def _directory(source: str, target: str, files: Path) -> None:
    _run(_program("pg_dump"), "--format=directory", "--jobs=2", f"--file={files}/dump", source)
    _restore(target, "--jobs=2", files / "dump")


def _over_an_old_one(source: str, target: str, files: Path) -> None:
    """Restore over an older copy, which is dropped first."""
    _custom(source, target, files)
    with psycopg.connect(target) as connection:
        connection.execute("delete from location")
        connection.execute("delete from device")
    _restore(target, "--clean", "--if-exists", files / "dump")


def _sections(source: str, target: str, files: Path) -> None:
    """Restore in sections: triggers and foreign keys come after the rows."""
    _run(_program("pg_dump"), "--format=custom", f"--file={files}/dump", source)
    for section in ("pre-data", "data", "post-data"):
        _restore(target, f"--section={section}", files / "dump")


def _schema_then_data(source: str, target: str, files: Path) -> None:
    """Restore the whole schema, then the rows, with triggers and foreign keys switched off by a superuser."""
    _run(_program("pg_dump"), "--format=custom", f"--file={files}/dump", source)
    _restore(target, "--schema-only", files / "dump")
    _restore(target, "--data-only", "--disable-triggers", files / "dump")


WAYS = (_plain, _custom, _directory, _over_an_old_one, _sections, _schema_then_data)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.lstrip("_"))
def test_a_dump_works_in_a_database_of_another_name(
    postgres: Cluster, source: tuple[str, str], restored: str, tmp_path: Path, way: Callable[[str, str, Path], None]
) -> None:
    """This holds for each of pg_dump's formats, with owners and privileges."""
    way(postgres.url(source[0]), postgres.url(restored), tmp_path)
    _require_working(postgres, restored, source[1])


def test_a_schema_without_its_data_is_named(
    postgres: Cluster, source: tuple[str, str], restored: str, tmp_path: Path
) -> None:
    """Until the rows are restored, `migrate` changes nothing and says why."""
    _run(_program("pg_dump"), "--format=custom", f"--file={tmp_path}/dump", postgres.url(source[0]))
    _restore(postgres.url(restored), "--schema-only", tmp_path / "dump")
    command: list[str | Path] = [COMMAND, "migrate"]
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": postgres.url(restored)}
    for options in (["--dry-run"], []):
        done = subprocess.run(
            [*command, *options], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 1
        assert "if the schema was restored without its data, restore that, too" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster without our roles."""
    with cluster(tmp_path_factory.mktemp("bare")) as running:
        yield running


def test_a_dump_without_owners_and_privileges_works_in_a_cluster_without_our_roles(
    postgres: Cluster, source: tuple[str, str], bare_cluster: Cluster, tmp_path: Path
) -> None:
    """`migrate` creates the roles, grants them what they need, and revokes from PUBLIC what PUBLIC must not have."""
    _run(_program("pg_dump"), "--format=custom", f"--file={tmp_path}/dump", postgres.url(source[0]))
    name = _create(bare_cluster)
    url = bare_cluster.url(name)
    _restore(url, "--no-owner", "--no-acl", tmp_path / "dump")
    said = _run(COMMAND, "migrate", REGISTRATIONS_DATABASE_URL=url)
    assert f"roles made: {', '.join(ROLES)}" in said
    _require_working(bare_cluster, name, source[1])
    with psycopg.connect(url) as connection, psycopg.connect(postgres.url(source[0])) as original:
        limits = "select rolname, rolconnlimit from pg_roles where rolname ~ '^registrations_' order by 1"
        assert connection.execute(limits).fetchall() == original.execute(limits).fetchall()
        assert _executable_by_all(connection) == _executable_by_all(original)


def _executable_by_all(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'public'::regnamespace and prosecdef "
        "and has_function_privilege('public', oid, 'execute')"
    ).fetchall()


@pytest.mark.parametrize("cure", ["check", "migrate"])
def test_what_check_names_heals_what_a_restore_without_privileges_lost(
    postgres: Cluster, source: tuple[str, str], restored: str, tmp_path: Path, cure: str
) -> None:
    """The commands that `check` prints, or `migrate`, restore the privileges, and no more than the original had."""
    _run(_program("pg_dump"), "--format=custom", f"--file={tmp_path}/dump", postgres.url(source[0]))
    url = postgres.url(restored)
    _restore(url, "--no-acl", tmp_path / "dump")
    if cure == "check":
        # As in an operator's session, whose search_path differs from that of `check`.
        for found in _found(url):
            with psycopg.connect(url, autocommit=True, options="-csearch_path=pg_catalog") as connection:
                connection.execute(found["remedy"].encode())
        assert _found(url) == []
    else:
        _run(COMMAND, "migrate", REGISTRATIONS_DATABASE_URL=url)
    _require_working(postgres, restored, source[1])
    with psycopg.connect(url) as connection, psycopg.connect(postgres.url(source[0])) as original:
        assert _granted(connection) == _granted(original)
        assert _executable_by_all(connection) == _executable_by_all(original)


def _found(url: str) -> list[dict[str, str]]:
    done = subprocess.run(
        [COMMAND.with_name("registrations-sync"), "check", "--json"],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": NOWHERE},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return [each for each in json.loads(done.stdout)["findings"] if each["id"] in ("grants", "roles", "search_path")]


def _granted(connection: psycopg.Connection) -> set[tuple[object, ...]]:
    """Return the privileges of our roles and of PUBLIC on tables, columns, sequences and functions."""
    return set(
        connection.execute(
            "select * from (select oid::regclass::text, '', grantee, privilege_type from pg_class, aclexplode(relacl) "
            "where relnamespace = 'public'::regnamespace union all "
            "select attrelid::regclass::text, attname, grantee, privilege_type from pg_attribute, aclexplode(attacl) "
            "union all select oid::regprocedure::text, '', grantee, privilege_type from pg_proc, aclexplode(proacl) "
            "where pronamespace = 'public'::regnamespace) g where grantee::regrole::text ~ '^(registrations_|-)'"
        ).fetchall()
    )


def test_a_dump_of_another_schema_than_public_names_what_its_new_database_lacks(
    postgres: Cluster, restored: str, tmp_path: Path
) -> None:
    """A dump lacks its database's settings such as search_path: `migrate` and the worker say where the schema is."""
    name = _create(postgres)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        try:
            schema = sql.Identifier(SCHEMA)
            admin.execute(sql.SQL("alter database {} set search_path = {}").format(sql.Identifier(name), schema))
            with psycopg.connect(postgres.url(name)) as connection:
                connection.execute(sql.SQL("create schema {}").format(schema))
            token = _fill(postgres, name)
            _custom(postgres.url(name), postgres.url(restored), tmp_path)
        finally:
            admin.execute(f"drop database {name} with (force)".encode())
        cure = f'alter database {restored} set search_path = "{SCHEMA}"'
        with pytest.raises(SchemaRefused, match=re.escape(cure)):
            migrate(DatabaseSettings(database_url=postgres.url(restored)))
        worker = f'alter role registrations_sync in database {restored} set search_path = "{SCHEMA}"'
        with pytest.raises(SchemaStale, match=re.escape(worker)):
            _enrich(postgres, restored)
        admin.execute(cure.encode())
    _require_working(postgres, restored, token)


def _newer(version: str) -> str | None:
    """Return the newest installed PostgreSQL of another version."""
    for other in ("18", "17", "16"):
        try:
            if int(other) > int(version) and bin_directory(other):
                return other
        except FileNotFoundError:
            continue
    return None


@pytest.mark.slow
def test_a_cluster_that_is_upgraded_by_pg_upgrade_works(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything works on a later version of PostgreSQL, with roles and settings."""
    old_programs = bin_directory()
    version = subprocess.check_output([old_programs / "postgres", "--version"], encoding="ascii")
    newer = _newer(re.findall(r"\d+", version)[0])
    if newer is None:
        pytest.skip(f"no PostgreSQL newer than {version.strip()}: `make .venv/postgresql/18` installs one")
    old, new = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("new")
    with cluster(old) as server:
        create_by_kamdbctl(server, "kamailio")
        token = _fill(server, "kamailio")
    monkeypatch.setenv("POSTGRESQL", newer)
    with cluster(new):
        pass
    for data, programs in ((old / "data", old_programs), (new / "data", bin_directory())):
        # Old and new must agree on checksums, which are on by default in 18.
        subprocess.run(as_postgres([programs / "pg_checksums", "--enable", data]), cwd="/", check=False, timeout=60)
    with TemporaryDirectory() as sockets:  # a unix socket needs a short path
        if os.geteuid() == 0:
            shutil.chown(sockets, "postgres")
        command: list[str | Path] = [
            _program("pg_upgrade"),
            f"--old-bindir={old_programs}",
            f"--new-bindir={bin_directory()}",
            f"--old-datadir={old / 'data'}",
            f"--new-datadir={new / 'data'}",
            f"--username={SUPERUSER}",
            f"--old-port={free_port()}",
            f"--new-port={free_port()}",
            f"--socketdir={sockets}",
        ]
        done = subprocess.run(
            as_postgres(command), cwd=sockets, capture_output=True, text=True, check=False, timeout=300
        )
    assert done.returncode == 0, done.stdout + done.stderr
    with cluster(new) as server:
        _require_working(server, "kamailio", token)
