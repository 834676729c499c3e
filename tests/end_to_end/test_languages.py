"""The language of PostgreSQL's messages does not matter: each test runs on an English and on a German server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from api.app import create_app
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.connections.bounded import BoundedConnection
from sql.connections.database import connect, open_connection
from sql.errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    LoginRefused,
    PermissionLacking,
    SchemaRefused,
    StatementFailed,
)
from sql.schema.migrate import migrate
from sql.schema.uninstall import uninstall
from sql.settings import DatabaseSettings
from tests.demo.content import program
from tests.fixtures.http import NOWHERE
from tests.stand.postgres import Cluster, cluster
from tests.stand.process import daemon, wait_until

GERMAN = "de_DE.UTF-8"
ROLES = """
    create role secret login password 'right';
    create role full_up login password 'right' connection limit 0;
    create role shut nologin;
    create role stranger login;
    create role guest login;
    create table held ();
    create database private;
    revoke connect on database private from public;
    create database maintained allow_connections false
"""
PG_HBA = """
host all postgres,nosuch,shut,guest all trust
host all secret,full_up all scram-sha-256
"""


@pytest.fixture(scope="module", params=["English", "German"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with roles that cannot log in, each for another reason. A test that stops it must start it again."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "English":
        running = cluster(directory)
    else:
        command: list[str | Path] = ["localedef", "-i", "de_DE", "-f", "UTF-8", directory / GERMAN]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"cannot create the locale {GERMAN}: {made.stderr.strip()}")
        running = cluster(directory / "postgres", locale=GERMAN, env={"LOCPATH": str(directory)})
    with running as server:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            if request.param == "German":
                _skip_unless_german(admin)
            for each in ROLES.split(";"):
                admin.execute(each.encode())
        (server.directory / "data" / "pg_hba.conf").write_text(PG_HBA, encoding="utf-8")
        server.stop()
        server.start()
        yield server


def _skip_unless_german(connection: psycopg.Connection) -> None:
    with pytest.raises(errors.DivisionByZero) as raised:
        connection.execute("select 1 / 0")
    if raised.value.diag.severity == "ERROR":
        pytest.skip("this PostgreSQL has no German messages: its localedir has no de/LC_MESSAGES/postgres-*.mo")


def _settings(server: Cluster, place: str) -> DatabaseSettings:
    url = f"postgresql://{place.format(at=f'{server.host}:{server.port}')}"
    return DatabaseSettings(database_url=url, database_connect_timeout=2)


def _open(settings: DatabaseSettings) -> BoundedConnection:
    return open_connection(settings, application_name="test")


@pytest.fixture(autouse=True)
def _no_password_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    monkeypatch.delenv("PGPASSWORD", raising=False)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param("secret:wrong@{at}/postgres", LoginRefused, id="wrong password"),
        pytest.param("secret@{at}/postgres", LoginRefused, id="no password"),
        pytest.param("nosuch@{at}/postgres", LoginRefused, id="no such role"),
        pytest.param("postgres@{at}/nosuch", LoginRefused, id="no such database"),
        pytest.param("stranger@{at}/postgres", LoginRefused, id="no entry in pg_hba.conf"),
        pytest.param("shut@{at}/postgres", LoginRefused, id="role without LOGIN"),
        pytest.param("guest@{at}/private", LoginRefused, id="no CONNECT on the database"),
        pytest.param("guest@{at}/postgres?options=-cnosuch%3D1", LoginRefused, id="no such parameter"),
        pytest.param("secret:wrong@127.0.0.1:1,{at}/postgres", LoginRefused, id="wrong password at the second host"),
        pytest.param("full_up:right@{at}/postgres", DatabaseUnreachable, id="too many connections"),
        pytest.param("guest@{at}/maintained", DatabaseUnreachable, id="database without connections for now"),
        pytest.param("secret:wrong@127.0.0.1:1/postgres", DatabaseUnreachable, id="nobody listens"),
    ],
)
def test_a_login_that_fails(server: Cluster, place: str, expected: type[DatabaseError]) -> None:
    """The error is either final or worth another attempt."""
    with pytest.raises(DatabaseError) as raised:
        _open(_settings(server, place))
    assert raised.type is expected, raised.value


def test_a_server_that_shuts_down_is_away(server: Cluster) -> None:
    """It waits for existing sessions and accepts no new ones."""

    def is_shutting_down() -> bool:
        try:
            _open(_settings(server, "guest@{at}/postgres")).close()
        except DatabaseUnreachable as error:
            return "57P03" in str(error)
        return False

    try:
        with psycopg.connect(server.url()):
            os.kill(server.pid, signal.SIGTERM)
            wait_until(is_shutting_down, 20, "the shutdown")
    finally:
        server.stop()
        server.start()


@pytest.mark.parametrize(
    ("statement", "cause", "expected"),
    [
        ("set statement_timeout = 50; select pg_sleep(60)", errors.QueryCanceled, DatabaseBusy),
        ("set lock_timeout = 50; table held", errors.LockNotAvailable, DatabaseBusy),
        ("set transaction read only; create table t ()", errors.ReadOnlySqlTransaction, DatabaseReadOnly),
        ("do $$ begin raise sqlstate '53100'; end $$", errors.DiskFull, DatabaseFull),
        ("do $$ begin raise sqlstate '58030'; end $$", errors.IoError, DatabaseUnreachable),
        ("select pg_terminate_backend(pg_backend_pid())", errors.AdminShutdown, DatabaseUnreachable),
        ("set role guest; table pg_authid", errors.InsufficientPrivilege, PermissionLacking),
        ("select 1 / 0", errors.DivisionByZero, StatementFailed),
    ],
)
def test_a_statement_that_fails(
    server: Cluster, statement: str, cause: type[psycopg.Error], expected: type[DatabaseError]
) -> None:
    """A timeout, a lock, a standby and a lost session are worth another attempt."""
    settings = _settings(server, "postgres@{at}/postgres")
    with psycopg.connect(server.url()) as other:
        other.execute("lock table held")
        with pytest.raises(expected) as raised, connect(settings, application_name="test") as connection:
            connection.execute(statement.encode())
    assert raised.type is expected
    assert type(raised.value.__cause__) is cause


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (["registrations-sync", "run"], {}),
        (["registrations-sync", "once"], {}),
        (["registrations-api", "serve"], {}),
        (["registrations-db", "migrate"], {}),
        (["registrations-db", "migrate"], {"PSYCOPG_IMPL": "python"}),  # with the system's libpq
    ],
    ids=str,
)
def test_no_command_waits_for_another_password(
    server: Cluster, command: list[str], environment: dict[str, str]
) -> None:
    """It exits with status 1 and one line, which has the SQLSTATE and what to do."""
    url = _settings(server, "secret:wrong@{at}/postgres").database_url
    ended = subprocess.run(
        [program(command[0]), *command[1:]],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": url, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 1
    assert "28P01" in ended.stderr
    assert "correct REGISTRATIONS_DATABASE_URL" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


def test_a_worker_that_waited_for_postgresql_does_not_wait_for_another_password(
    server: Cluster, tmp_path: Path
) -> None:
    """The worker was started before PostgreSQL. The refused login ends it, as it would at the start."""
    log = tmp_path / "worker.log"
    server.stop()
    try:
        with daemon(
            [program("registrations-sync"), "run"],
            log=log,
            env={"REGISTRATIONS_DATABASE_URL": _settings(server, "secret:wrong@{at}/postgres").database_url},
            ready=lambda: log.exists() and "database unreachable" in log.read_text(),
        ) as worker:
            server.start()
            assert worker.process.wait(timeout=30) == 1
            assert "28P01" in worker.log_text()
            assert "Traceback" not in worker.log_text()
    finally:
        server.start()


def test_an_api_that_runs_is_not_ready_and_logs_why(server: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """Its pool keeps trying. The API answers 503 until the password is right."""
    settings = _settings(server, "secret:wrong@{at}/postgres")
    app = create_app(ApiSettings(), settings, KamailioSettings(kamailio_rpc=NOWHERE))
    try:
        response = app.test_client().get("/ready")
    finally:
        app.extensions["database"].close()
    assert (response.status_code, response.get_json()["database"]) == (503, "DatabaseUnreachable")
    assert "28P01" in caplog.text


def test_uninstall_tells_ours_from_the_operators(server: Cluster) -> None:
    """An operator's view stops it before it changes anything. Without that view it removes everything of ours."""
    settings = DatabaseSettings(database_url=server.url(f"languages_{uuid4().hex}"))
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"create database {settings.database_url.rpartition('/')[2]}".encode())
    migrate(settings)
    with psycopg.connect(settings.database_url, autocommit=True) as operator:
        operator.execute("create view my_report as select username from registrations")
        with pytest.raises(SchemaRefused, match=r"in the way: \w+ my_report [^;]* registrations\b[^;]*$"):
            uninstall(settings)
        operator.execute("drop view my_report")
        uninstall(settings)
        left = operator.execute("select relname from pg_class where relnamespace = 'public'::regnamespace")
        assert not {"account", "registrations", "flush"} & {row[0] for row in left}


@contextmanager
def _stand_in_pgbouncer(sqlstate: str, text: str) -> Iterator[int]:
    """Imitate PgBouncer's answer to one login, an ErrorResponse; yield the port."""
    fields = f"SFATAL\0C{sqlstate}\0M{text}\0\0".encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def answer() -> None:
            with listening.accept()[0] as client:
                client.recv(1024)
                client.sendall(b"E" + (4 + len(fields)).to_bytes(4, "big") + fields)

        thread = threading.Thread(target=answer)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    ("sqlstate", "text", "expected"),
    [
        ("08P01", "SASL authentication failed", LoginRefused),
        ("08P01", "no such user", LoginRefused),
        ("08P01", "no such database: nosuch", LoginRefused),
        ("08P01", "query_wait_timeout", DatabaseUnreachable),
        ("08P01", "no more connections allowed (max_client_conn)", DatabaseUnreachable),
        ("3D000", "Datenbank »nosuch« existiert nicht", LoginRefused),
        ("53300", "zu viele Verbindungen für Rolle »secret«", DatabaseUnreachable),
    ],
)
def test_pgbouncer_is_told_by_its_words_where_it_has_one_sqlstate(
    sqlstate: str, text: str, expected: type[DatabaseError]
) -> None:
    """PgBouncer's own errors are always in English. PostgreSQL's errors come through with their own SQLSTATE."""
    with _stand_in_pgbouncer(sqlstate, text) as port, pytest.raises(DatabaseError) as raised:
        _open(
            DatabaseSettings(database_url=f"postgresql://secret@127.0.0.1:{port}/x?sslmode=disable&gssencmode=disable")
        )
    assert raised.type is expected, raised.value
