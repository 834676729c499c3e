"""A database that answers reads and takes no writes: a real replica, a failover, default_transaction_read_only."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.settings import ApiSettings
from kamailio import usrloc
from kamailio.settings import KamailioSettings
from sql.settings import DatabaseSettings
from tests.demo.content import program
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import StartWorker
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster, replica
from tests.stand.process import Daemon, wait_until

BOB = "/v2/accounts/child/registrations/bob"
OpenApi = Callable[[str], FlaskClient]


@pytest.fixture
def make_read_only(database: psycopg.Connection) -> Iterator[Callable[[], Callable[[], None]]]:
    """Make the server read-only for every session, those that are there, too; call what this returns to undo it."""
    database.execute("set default_transaction_read_only = off")  # of this session

    def undo() -> None:
        database.execute("alter system reset default_transaction_read_only")
        database.execute("select pg_reload_conf()")

    def make() -> Callable[[], None]:
        database.execute("alter system set default_transaction_read_only = on")
        database.execute("select pg_reload_conf()")
        return undo

    yield make
    undo()


@pytest.fixture
def open_api() -> Iterator[OpenApi]:
    """A client of an API at some database URL, whose Kamailio is nowhere."""
    with ExitStack() as running:

        def start(url: str) -> FlaskClient:
            settings = DatabaseSettings(database_url=url, database_connect_timeout=1)
            app = create_app(ApiSettings(api_rate_burst=0), settings, KamailioSettings(kamailio_rpc=NOWHERE))
            running.callback(app.extensions["database"].close)
            return app.test_client()

        yield start


def _ready(http: FlaskClient) -> tuple[int, str]:
    response = http.get("/ready")
    return response.status_code, response.get_json()["database"]


def _flush(http: FlaskClient, directory: Directory) -> Any:
    return http.delete(BOB, headers={"X-Auth-Token": directory.tokens["child"]})


def _run(url: str, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(command), *arguments],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": NOWHERE},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_replica_is_not_ready_until_it_is_promoted(
    tmp_path: Path, postgres: Cluster, database: psycopg.Connection, directory: Directory, open_api: OpenApi
) -> None:
    """The API answers 503 there and the checks say why. After the promotion all is well, without a restart."""
    with replica(tmp_path / "replica", of=postgres) as standby:
        http = open_api(standby.url(database.info.dbname, user="registrations_api"))
        assert _ready(http) == (503, "DatabaseReadOnly")
        refused = _flush(http, directory)
        assert (refused.status_code, refused.get_json()["message"]) == (503, "datastore_unreachable")
        assert int(refused.headers["Retry-After"]) > 0
        owner = standby.url(database.info.dbname)
        checked = _run(owner, "registrations-db", "check")
        assert checked.returncode == 2, checked.stderr
        assert "FAULT    database_read_only: the database takes no writes: the server is a replica" in checked.stdout
        url = standby.url(database.info.dbname, user="registrations_sync")
        found = {
            each["id"] for each in json.loads(_run(url, "registrations-sync", "check", "--json").stdout)["findings"]
        }
        assert "database_read_only" in found
        assert "worker" not in found  # that of the primary cannot be seen from here
        standby.promote()
        assert _ready(http) == (200, "ok")
        assert _flush(http, directory).status_code == 200
        assert "database_read_only" not in _run(owner, "registrations-db", "check").stdout


@pytest.mark.parametrize(
    "arguments", [["migrate"], ["token", "create", "child"], ["import", "directory.json"]], ids=str
)
def test_a_command_tells_of_a_read_only_server(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    make_read_only: Callable[[], Callable[[], None]],
    arguments: list[str],
) -> None:
    """In one line, with the cure; nothing is changed."""
    file = tmp_path / "directory.json"
    file.write_text('{"accounts": [{"id": "new", "name": "New", "realm": "new.test"}]}', encoding="utf-8")
    make_read_only()
    read_only = "select current_setting('default_transaction_read_only') = 'on'"
    database.execute("reset default_transaction_read_only")
    wait_until(lambda: database.execute(read_only).fetchone() == (True,), 10, "the server to be read-only")
    given = [str(file) if each == file.name else each for each in arguments]
    ended = _run(postgres.url(database.info.dbname), "registrations-db", *given)
    assert ended.returncode == 1
    assert "read-only transaction; have REGISTRATIONS_DATABASE_URL name the primary" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert database.execute("select count(*) from account").fetchone() == (len(directory.tokens),)


def test_a_failover_is_followed_without_a_restart(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    make_read_only: Callable[[], Callable[[], None]],
    start_worker: StartWorker,
    open_api: OpenApi,
) -> None:
    """The old primary still answers, read-only, on connections that API and worker have: they are not used again."""
    with replica(tmp_path / "replica", of=postgres) as standby:
        hosts = f"{postgres.host}:{postgres.port},{standby.host}:{standby.port}/{database.info.dbname}"
        http = open_api(f"postgresql://registrations_api@{hosts}?target_session_attrs=read-write")
        worker = start_worker(
            REGISTRATIONS_DATABASE_URL=f"postgresql://registrations_sync@{hosts}?target_session_attrs=read-write"
        )
        wait_until(lambda: "this worker leads" in worker.log_text(), 20, "the worker to lead")
        assert _ready(http) == (200, "ok")
        make_read_only()
        standby.promote()
        wait_until(lambda: _flush(http, directory).status_code == 200, 20, "the API to follow")
        assert _ready(http) == (200, "ok")
        with psycopg.connect(standby.url(database.info.dbname), autocommit=True) as promoted:
            assert promoted.execute("select count(*) from flush").fetchone() == (1,)
            promoted.execute("insert into location (ruid, username, domain) values ('r', 'bob', 'child.test')")
            enriched = "select 1 from location where device_id = 'device-bob'"
            # It notices when a write fails, which a worker that has nothing to write does not make.
            database.execute("insert into location (ruid, username, domain) values ('r', 'bob', 'child.test')")
            wait_until(lambda: promoted.execute(enriched).fetchone(), 30, "the worker to follow")
        assert "Traceback" not in worker.log_text()


def _waits(worker: Daemon) -> bool:
    return "database is away, waiting" in worker.log_text()


def test_a_flush_on_a_read_only_database_promises_nothing(
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    make_read_only: Callable[[], Callable[[], None]],
    start_kamailio: StartKamailio,
    start_api: StartApi,
    start_worker: StartWorker,
) -> None:
    """503 and Retry-After, Kamailio keeps the binding, the worker waits; all go on when it takes writes again."""
    proxy = start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))
    http = start_api(kamailio_rpc=proxy.rpc_url)
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=proxy.rpc_url)
    with Phone("bob", "child.test", "secret", proxy=proxy.sip) as phone, proxy.rpc() as rpc:
        assert phone.register().status == 200
        assert _ready(http) == (200, "ok")
        enriched = "select 1 from location where device_id = 'device-bob'"
        wait_until(lambda: database.execute(enriched).fetchone(), 20, "the worker")
        undo = make_read_only()
        wait_until(lambda: _ready(http) == (503, "DatabaseReadOnly"), 10, "the server to be read-only")
        refused = _flush(http, directory)
        assert (refused.status_code, refused.get_json()["message"]) == (503, "datastore_unreachable")
        assert int(refused.headers["Retry-After"]) > 0
        assert phone.register().status == 500  # so the check's words
        assert len(usrloc.lookup(rpc, "bob@child.test")) == 1
        database.execute("update location set enriched_at = null, device_id = null")  # something to do
        wait_until(lambda: _waits(worker), 20, "the worker to notice")
        assert database.execute("select count(*) from flush").fetchone() == (0,)
        undo()
        wait_until(lambda: _ready(http) == (200, "ok"), 10, "the server to take writes")
        wait_until(lambda: database.execute(enriched).fetchone(), 30, "the worker to go on")
        wait_until(lambda: "database is back" in worker.log_text(), 5, "the worker to say so")
        assert _flush(http, directory).status_code == 200
        assert usrloc.lookup(rpc, "bob@child.test") == ()
    assert worker.log_text().count("database is away, waiting") == 1
    assert "Traceback" not in worker.log_text()


def test_a_worker_that_starts_on_a_read_only_database_waits(
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    make_read_only: Callable[[], Callable[[], None]],
    start_worker: StartWorker,
) -> None:
    """It does not say that it leads, and not every half second that the database is away and back."""
    assert directory.tokens
    undo = make_read_only()
    add_binding("bob", "child.test")
    worker = start_worker()
    wait_until(lambda: _waits(worker), 20, "the worker to notice")
    assert "this worker leads" not in worker.log_text()
    undo()
    enriched = "select 1 from location where device_id = 'device-bob'"
    wait_until(lambda: database.execute(enriched).fetchone(), 30, "the worker to go on")
    said = worker.log_text()
    assert (said.count("database is away, waiting"), said.count("this worker leads")) == (1, 1)
    assert len(said.splitlines()) < 10, said
