"""A database that answers reads and takes no writes: a real replica, a failover, default_transaction_read_only.

Lists and counts keep working, and writes are refused with the reason. Everything recovers once writes work again.
"""

from __future__ import annotations

import hashlib
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

from api import status
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
from tests.openapi.contract import ContractClient
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster, replica
from tests.stand.process import Daemon, wait_until

API_KEY = "key-of-the-child"
BOB = "/v2/accounts/child/registrations/bob"
OpenApi = Callable[[str], FlaskClient]


@pytest.fixture
def make_read_only(database: psycopg.Connection) -> Iterator[Callable[[], Callable[[], None]]]:
    """Make the server read-only for all sessions except this one, also existing ones; return a function to undo it."""
    database.execute("set default_transaction_read_only = off")

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
    """Open a client of an API on some database URL. Its Kamailio cannot be reached."""
    with ExitStack() as running:

        def start(url: str) -> FlaskClient:
            settings = DatabaseSettings(database_url=url, database_connect_timeout=1)
            app = create_app(ApiSettings(api_rate_burst=0), settings, KamailioSettings(kamailio_rpc=NOWHERE))
            app.test_client_class = ContractClient
            running.callback(app.extensions["database"].close)
            return app.test_client()

        yield start


@pytest.fixture(autouse=True)
def look_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time /ready is asked, which else keeps its answer for a second."""
    monkeypatch.setattr(status, "ANSWER_SECONDS", 0.0)


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


def _assert_reads_work(http: FlaskClient, directory: Directory) -> None:
    """Check every endpoint that does not write, with bob's one binding."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    answers = {
        path: http.get(f"/v2/accounts/child/{path}", headers=headers)
        for path in (
            "registrations",
            "registrations?page_size=1",
            "registrations?accept=csv",
            "registrations/count",
            "registrations/flushes",
            "devices/status",
        )
    }
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert [each["username"] for each in answers["registrations"].get_json()["data"]] == ["bob"]
    assert answers["registrations/count"].get_json()["data"] == {"count": 1}
    admin = {"X-Auth-Token": directory.tokens["admin"]}
    assert http.get("/v2/registrations/count", headers=admin).get_json()["data"] == {"count": 1}
    assert http.get("/v2/token_auth", headers=headers).get_json()["data"]["account_id"] == "child"
    for path in ("/v2/openapi.json", "/live"):
        assert http.get(path).status_code == 200
    assert http.get("/v2/accounts/child/registrations", headers={"X-Auth-Token": "0"}).status_code == 401
    asked = http.post("/v2/accounts/child/devices/device-bob/sync", headers=headers)
    assert asked.status_code == 202, asked.text


def _assert_writes_are_refused(http: FlaskClient, directory: Directory) -> None:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    key = {"data": {"api_key": API_KEY}}
    for refused in (
        _flush(http, directory),
        http.delete("/v2/accounts/child/registrations?check_sync=true", headers=headers),
        http.put("/v2/api_auth", json=key),
        http.delete("/v2/token_auth", headers=headers),
    ):
        envelope = refused.get_json()
        assert (refused.status_code, envelope["status"], envelope["error"]) == (503, "error", "503")
        assert (envelope["message"], envelope["data"]) == ("datastore_read_only", {"message": "datastore is read-only"})
        assert int(refused.headers["Retry-After"]) > 0


def _use_of_token(database: psycopg.Connection) -> Any:
    return database.execute("select last_used_at from auth_token where account_id = 'child'").fetchone()


def _fill(database: psycopg.Connection, add_binding: AddBinding) -> None:
    """Add bob's binding, an API key for his account, and a token whose last use is out of date."""
    add_binding("bob", "child.test")
    digest = hashlib.sha256(API_KEY.encode()).digest()
    database.execute("update account set api_key_hash = %s where id = 'child'", (digest,))
    database.execute("update auth_token set last_used_at = now() - interval '1 hour', idle_lifetime = '1 day'")


@pytest.mark.parametrize("wanted", ["", "?target_session_attrs=any", "?target_session_attrs=prefer-standby"])
def test_a_replica_answers_reads_until_it_is_promoted(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    open_api: OpenApi,
    wanted: str,
) -> None:
    """Writes are refused with the reason, and `check` reports it. After the promotion all works without a restart."""
    _fill(database, add_binding)
    with replica(tmp_path / "replica", of=postgres) as standby:
        hosts = f"{standby.host}:{standby.port},{postgres.host}:{postgres.port}" if wanted else ""
        url = standby.url(database.info.dbname, user="registrations_api")
        http = open_api(f"postgresql://registrations_api@{hosts}/{database.info.dbname}{wanted}" if wanted else url)
        assert _ready(http) == (503, "DatabaseReadOnly")
        assert http.get("/ready").get_json()["status"] == "read-only"
        for_reads = http.get("/ready?writes=false")
        assert (for_reads.status_code, for_reads.get_json()["status"]) == (200, "read-only")
        with psycopg.connect(standby.url(database.info.dbname), autocommit=True) as there:
            before = _use_of_token(there)
            _assert_reads_work(http, directory)
            _assert_writes_are_refused(http, directory)
            assert _use_of_token(there) == before
            owner = standby.url(database.info.dbname)
            checked = _run(owner, "registrations-db", "check")
            assert checked.returncode == 2, checked.stderr
            assert (
                "FAULT    database_read_only: the database takes no writes: the server is a replica" in checked.stdout
            )
            url = standby.url(database.info.dbname, user="registrations_sync")
            found = {
                each["id"] for each in json.loads(_run(url, "registrations-sync", "check", "--json").stdout)["findings"]
            }
            assert "database_read_only" in found
            assert "worker" not in found  # the primary's is not visible here
            standby.promote()
            assert _ready(http) == (200, "ok")
            assert http.get("/ready?writes=false").get_json()["status"] == "ready"
            assert _flush(http, directory).status_code == 200
            assert _use_of_token(there) > before
            assert "database_read_only" not in _run(owner, "registrations-db", "check").stdout


def test_a_replica_of_a_database_that_is_serializable_answers_reads(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    open_api: OpenApi,
) -> None:
    """A hot standby refuses serializable transactions, so ours have another isolation level."""
    _fill(database, add_binding)
    database.execute(f"alter database {database.info.dbname} set default_transaction_isolation = 'serializable'")
    with replica(tmp_path / "replica", of=postgres) as standby:
        http = open_api(standby.url(database.info.dbname, user="registrations_api"))
        assert _ready(http) == (503, "DatabaseReadOnly")
        _assert_reads_work(http, directory)
        _assert_writes_are_refused(http, directory)
        checked = _run(standby.url(database.info.dbname), "registrations-db", "check")
        assert "database_read_only" in checked.stdout, checked.stderr


@pytest.mark.parametrize("whose", ["database {}", "role registrations_api in database {}"])
def test_a_database_or_role_that_is_made_read_only_answers_reads(
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    open_api: OpenApi,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    """Setting and reset only apply to new sessions. A running API opens new ones."""
    monkeypatch.setattr("sql.connections.database.READ_ONLY_SECONDS", 0.1)
    _fill(database, add_binding)
    whose = whose.format(database.info.dbname)
    database.execute(f"alter {whose} set default_transaction_read_only = on")
    http = open_api(database_url.replace("postgres@", "registrations_api@"))
    assert _ready(http) == (503, "DatabaseReadOnly")
    _assert_reads_work(http, directory)
    _assert_writes_are_refused(http, directory)
    database.execute(f"alter {whose} reset default_transaction_read_only")
    wait_until(lambda: _flush(http, directory).status_code == 200, 10, "a new session")
    wait_until(lambda: _ready(http) == (200, "ok"), 10, "only new sessions")


COMMANDS = {
    "migrate": "registrations-db migrate",
    "dry run": "registrations-db migrate --dry-run",
    "token": "registrations-db token create child",
    "import": "registrations-db import FILE",
    "import from Kazoo": "registrations-sync import-kazoo http://127.0.0.1:1",
    "widen": "registrations-db widen username 100",
    "alter": "registrations-db alter ALTER",
    "uninstall": "registrations-db uninstall --yes",
    "once": "registrations-sync once",
    "flush": "registrations-sync flush child",
}
READING = {
    "list": "registrations-db token list",
    "what uninstall would do": "registrations-db uninstall",
}


def test_a_command_tells_of_a_read_only_server_in_one_line(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line has the remedy. Commands that only read still work."""
    file = tmp_path / "directory.json"
    file.write_text('{"accounts": [{"id": "new", "name": "New", "realm": "new.test"}]}', encoding="utf-8")
    key = tmp_path / "key"
    key.write_text("k" * 64, encoding="ascii")
    key.chmod(0o600)
    monkeypatch.setenv("REGISTRATIONS_KAZOO_API_KEY_FILE", str(key))
    monkeypatch.setenv("REGISTRATIONS_KAZOO_DIRECTORY", str(tmp_path / "kazoo"))
    words = {"FILE": str(file), "ALTER": "alter table location add mine integer"}
    with replica(tmp_path / "replica", of=postgres) as standby:
        url = standby.url(database.info.dbname)
        ended = {
            name: _run(url, *(words.get(word, word) for word in line.split()))
            for name, line in {**COMMANDS, **READING}.items()
        }
    for name in COMMANDS:
        said = ended[name].stderr.splitlines()
        assert ended[name].returncode == 1, name
        assert "Traceback" not in ended[name].stderr
        assert [line for line in said if "read-only" in line] == said[-1:], (name, said)
        assert "have REGISTRATIONS_DATABASE_URL name the primary" in said[-1], name
    assert {name: ended[name].returncode for name in READING} == dict.fromkeys(READING, 0)


def test_a_failover_is_followed_without_a_restart(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    make_read_only: Callable[[], Callable[[], None]],
    start_worker: StartWorker,
    open_api: OpenApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old primary still answers, read-only, on existing connections. API and worker leave it.

    They do so even while nobody writes.
    """
    monkeypatch.setattr("sql.connections.database.READ_ONLY_SECONDS", 0.1)
    with replica(tmp_path / "replica", of=postgres) as standby:
        hosts = f"{postgres.host}:{postgres.port},{standby.host}:{standby.port}/{database.info.dbname}"
        http = open_api(f"postgresql://registrations_api@{hosts}?target_session_attrs=read-write")
        worker = start_worker(
            REGISTRATIONS_DATABASE_URL=f"postgresql://registrations_sync@{hosts}?target_session_attrs=read-write"
        )
        wait_until(lambda: "became leader" in worker.log_text(), 20, "the worker to lead")
        assert _ready(http) == (200, "ok")
        make_read_only()
        standby.promote()
        with psycopg.connect(standby.url(database.info.dbname), autocommit=True) as promoted:
            promoted.execute(
                "insert into location (ruid, username, domain, contact) values ('r', 'bob', 'child.test', 'sip:b@h')"
            )
            headers = {"X-Auth-Token": directory.tokens["child"]}
            count = "/v2/accounts/child/registrations/count"
            wait_until(
                lambda: http.get(count, headers=headers).get_json()["data"] == {"count": 1}, 20, "reads to follow"
            )
            assert _ready(http) == (200, "ok")
            assert _flush(http, directory).status_code == 200
            assert promoted.execute("select count(*) from flush").fetchone() == (1,)
            enriched = "select 1 from location where device_id = 'device-bob'"
            wait_until(lambda: promoted.execute(enriched).fetchone(), 30, "the worker to follow")
        assert "Traceback" not in worker.log_text()


def _waits(worker: Daemon) -> bool:
    return "database read-only, retrying" in worker.log_text()


def test_a_flush_on_a_read_only_database_promises_nothing(
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    make_read_only: Callable[[], Callable[[], None]],
    start_kamailio: StartKamailio,
    start_api: StartApi,
    start_worker: StartWorker,
) -> None:
    """503 with Retry-After, and Kamailio keeps the binding. Worker and API continue once writes work again."""
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
        assert (refused.status_code, refused.get_json()["message"]) == (503, "datastore_read_only")
        assert int(refused.headers["Retry-After"]) > 0
        assert phone.register().status == 500  # with the words of `check`
        assert len(usrloc.lookup(rpc, "bob@child.test")) == 1
        database.execute("update location set enriched_at = null, device_id = null")  # work for the worker
        wait_until(lambda: _waits(worker), 20, "the worker to notice")
        assert database.execute("select count(*) from flush").fetchone() == (0,)
        undo()
        wait_until(lambda: _ready(http) == (200, "ok"), 10, "the server to take writes")
        wait_until(lambda: database.execute(enriched).fetchone(), 30, "the worker to continue")
        wait_until(lambda: "database reachable again" in worker.log_text(), 5, "the worker to say so")
        assert _flush(http, directory).status_code == 200
        assert usrloc.lookup(rpc, "bob@child.test") == ()
    assert worker.log_text().count("database read-only, retrying") == 1
    assert "Traceback" not in worker.log_text()


def test_a_worker_that_starts_on_a_read_only_database_waits(
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    make_read_only: Callable[[], Callable[[], None]],
    start_worker: StartWorker,
) -> None:
    """It does not log that it leads, and logs the outage only once."""
    assert directory.tokens
    undo = make_read_only()
    add_binding("bob", "child.test")
    worker = start_worker()
    wait_until(lambda: _waits(worker), 20, "the worker to notice")
    assert "became leader" not in worker.log_text()
    undo()
    enriched = "select 1 from location where device_id = 'device-bob'"
    wait_until(lambda: database.execute(enriched).fetchone(), 30, "the worker to continue")
    said = worker.log_text()
    assert (said.count("database read-only, retrying"), said.count("became leader")) == (1, 1)
    assert len(said.splitlines()) < 10, said


def test_a_worker_on_a_replica_waits_for_its_promotion(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    http: FlaskClient,
    start_worker: StartWorker,
) -> None:
    """It logs once why it waits. Then it does the flush that the old primary promised, and enriches new rows."""
    add_binding("bob", "child.test")
    assert _flush(http, directory).get_json()["pending"] == 1  # its Kamailio cannot be reached
    assert database.execute("select attempts from flush_node").fetchone() == (1,)
    with replica(tmp_path / "replica", of=postgres) as standby:
        worker = start_worker(REGISTRATIONS_DATABASE_URL=standby.url(database.info.dbname, user="registrations_sync"))
        wait_until(lambda: _waits(worker), 20, "the worker to notice")
        add_binding("alice", "sibling.test")
        with psycopg.connect(standby.url(database.info.dbname), autocommit=True) as promoted:
            there = "select 1 from location where username = 'alice'"
            wait_until(lambda: promoted.execute(there).fetchone(), 20, "the row to be there")
            standby.promote()
            enriched = "select 1 from location where device_id = 'device-other'"
            wait_until(lambda: promoted.execute(enriched).fetchone(), 30, "the worker to continue")
            asked = "select 1 from flush_node where attempts > 1"
            wait_until(lambda: promoted.execute(asked).fetchone(), 30, "the worker to ask about the flush")
        said = worker.log_text()
    assert said.count("database read-only, retrying") == 1
    assert said.count("the database is read-only: the server is a replica") == 1
    assert "database unreachable" not in said
    assert "Traceback" not in said
