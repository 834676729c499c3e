"""The disk of the tables is really full. PostgreSQL keeps answering, because its WAL is on another disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from flask.testing import FlaskClient

from api import status
from api.app import create_app
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.access.tokens import create_token
from sql.connections import writability
from sql.connections.database import connect
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.demo.content import program
from tests.fixtures.http import NOWHERE
from tests.stand.postgres import Cluster
from tests.stand.process import daemon, wait_until

SIZE = "48m"
REGISTRATIONS = "/v2/accounts/acme/registrations"


@contextmanager
def _disk(directory: Path) -> Iterator[Path]:
    """Mount a file system in memory."""
    directory.mkdir()
    mount: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=777", "tmpfs", directory]
    made = subprocess.run(mount, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if made is None or made.returncode:
        pytest.skip(f"cannot mount a file system: {made.stderr if made else 'not root'}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Keep the file system full inside the `with` block."""
    fill = disk / "fill"
    with fill.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        fill.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The file system with the tables of the test's database."""
    with _disk(tmp_path / "disk") as directory:
        yield directory


@pytest.fixture
def name(disk: Path, postgres: Cluster) -> Iterator[str]:
    """A migrated database there with one account; its name."""
    tablespace = disk / "tablespace"
    tablespace.mkdir()
    shutil.chown(tablespace, "postgres")
    name = f"full_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create tablespace {name} location '{tablespace}'".encode())
        admin.execute(f"create database {name} tablespace {name}".encode())
        try:
            migrate(DatabaseSettings(database_url=postgres.url(name)))
            yield name
        finally:
            admin.execute(f"drop database {name} with (force)".encode())
            admin.execute(f"drop tablespace {name}".encode())


@pytest.fixture
def database(name: str, postgres: Cluster) -> Iterator[psycopg.Connection]:
    """A superuser's connection to it."""
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute("insert into account (id, name, realm) values ('acme', 'Acme', 'acme.test')")
        yield connection


@pytest.fixture
def http(name: str, postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """An API that checks the disk at every request."""
    monkeypatch.setattr(writability, "OUTCOME_SECONDS", 0.0)
    monkeypatch.setattr(status, "ANSWER_SECONDS", 0.0)
    settings = DatabaseSettings(database_url=postgres.url(name, user="registrations_api"))
    app = create_app(ApiSettings(api_rate_burst=0), settings, KamailioSettings(kamailio_rpc=NOWHERE))
    yield app.test_client()
    app.extensions["database"].close()


def _ready(http: FlaskClient) -> tuple[int, str]:
    response = http.get("/ready")
    return response.status_code, response.get_json()["database"]


def test_a_full_disk_is_told_and_promises_nothing(
    disk: Path, name: str, database: psycopg.Connection, http: FlaskClient, postgres: Cluster
) -> None:
    """/ready and `check` report it, and a flush gets 503 without being stored. All recover once there is room."""
    with connect(DatabaseSettings(database_url=postgres.url(name)), application_name="test") as connection:
        headers = {"X-Auth-Token": create_token(connection, "acme", idle_lifetime=None)[1]}
    assert _ready(http) == (200, "ok")
    check = {
        **os.environ,
        "REGISTRATIONS_DATABASE_URL": postgres.url(name, user="registrations_sync"),
        "REGISTRATIONS_KAMAILIO_RPC": NOWHERE,
    }

    def checked() -> str:
        command: list[str | Path] = [program("registrations-sync"), "check"]
        done = subprocess.run(command, env=check, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout

    with _filled(disk):
        assert _ready(http) == (503, "DatabaseFull")
        assert "FAULT    database_full: the disk is full: could not write" in checked()
        refused = http.delete(REGISTRATIONS, headers=headers)
        assert (refused.status_code, refused.get_json()["message"]) == (503, "datastore_unreachable")
        assert int(refused.headers["Retry-After"]) > 0
        assert database.execute("select count(*) from flush").fetchone() == (0,)
    assert _ready(http) == (200, "ok")
    assert "database_full" not in checked()
    assert http.delete(REGISTRATIONS, headers=headers).status_code == 200


def test_a_worker_waits_for_room(
    disk: Path, name: str, database: psycopg.Connection, postgres: Cluster, tmp_path: Path
) -> None:
    """It logs PostgreSQL's error once, without a traceback, and continues its work once there is room."""
    log = tmp_path / "worker.log"
    environment = {
        "REGISTRATIONS_DATABASE_URL": postgres.url(name, user="registrations_sync"),
        "REGISTRATIONS_KAMAILIO_RPC": NOWHERE,
        "REGISTRATIONS_SYNC_ENRICH_INTERVAL": "0.1",
    }
    insert = "insert into location (ruid, username, domain) select 'r' || n, 'u' || n, 'acme.test' from generate_series"
    with ExitStack() as stack:
        run: list[str | Path] = [program("registrations-sync"), "run"]
        started = daemon(
            run, log=log, env=environment, ready=lambda: log.exists() and "became leader" in log.read_text()
        )
        worker = stack.enter_context(started)
        said_before = postgres.log.read_text(encoding="utf-8")
        with database.transaction():
            database.execute(f"{insert}(1, 20000) n".encode())
            stack.enter_context(filled := _filled(disk))
        wait_until(lambda: "database unreachable, retrying" in worker.log_text(), 30, "the worker to notice")
        wait_until(
            lambda: "pg_logical_emit_message" in postgres.log.read_text(encoding="utf-8")[len(said_before) :],
            30,
            "the worker to fail again",
        )
        filled.__exit__(None, None, None)
        left = "select count(*) from location where enriched_at is null"
        wait_until(lambda: database.execute(left).fetchone() == (0,), 60, "the worker to continue")
        assert worker.log_text().count("database unreachable, retrying") == 1
        assert "No space left on device" in worker.log_text()
        assert "Traceback" not in worker.log_text()
