"""The wall clock of real daemons is set back or forward. Their work continues and nothing is lost."""

from __future__ import annotations

import hashlib
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from kamailio import usrloc
from sql.access.tokens import check_access, create_token
from sql.connections.database import connect
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.metrics import scrape
from tests.fixtures.worker import COMMAND, StartJobs, StartWorker
from tests.stand.clock import WallClock
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster, cluster
from tests.stand.process import Daemon, free_port, wait_until

pytestmark = pytest.mark.long

HOUR, DAY = 3600, 86400
BOB = "bob@child.test"


@pytest.fixture(scope="module")
def module_clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WallClock]:
    clock = WallClock(tmp_path_factory.mktemp("clock"))
    yield clock
    clock.close()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, module_clock: WallClock) -> Iterator[Cluster]:
    """A cluster that uses that clock, in place of the session's."""
    with cluster(tmp_path_factory.mktemp("postgres"), env=module_clock.environment) as running:
        yield running


@pytest.fixture
def database(postgres: Cluster, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    name = f"test_{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    migrate(DatabaseSettings(database_url=postgres.url(name)))
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        yield connection


@pytest.fixture
def clock(module_clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[WallClock]:
    """The clock of PostgreSQL and of every daemon that the test starts, but not of the test itself."""
    for name, value in module_clock.environment.items():
        monkeypatch.setenv(name, value)
    yield module_clock
    module_clock.shift(0)


@pytest.fixture(params=[1, 3], ids=["write-through", "database-only"])
def registrar(
    request: pytest.FixtureRequest,
    clock: WallClock,
    start_kamailio: StartKamailio,
    database: psycopg.Connection,
    postgres: Cluster,
) -> Proxy:
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    return start_kamailio(database_url=url, db_mode=request.param)


def _count(database: psycopg.Connection, what: str) -> int:
    row = database.execute(f"select count(*) from {what}").fetchone()
    assert row is not None
    return int(row[0])


def _wait_for_lead(worker: Daemon) -> None:
    wait_until(lambda: "became leader" in worker.log_text(), 20, "the worker to lead")


def _wait_until_enriched(database: psycopg.Connection) -> None:
    wait_until(lambda: _count(database, "location where enriched_at is null") == 0, 20, "the worker to enrich all rows")


def _contacts(registrar: Proxy) -> set[str]:
    with registrar.rpc() as rpc:
        return {contact.address for contact in usrloc.lookup(rpc, BOB)}


@pytest.mark.parametrize("db_mode", [None, "as it is"], ids=["mode unknown", "mode known"])
def test_a_flush_takes_what_it_saw_and_no_later_phone(
    db_mode: str | None,
    clock: WallClock,
    registrar: Proxy,
    start_api: StartApi,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """A flush is requested while Kamailio is down, then the clock goes back an hour. Later REGISTERs seem older.

    One phone stays silent, one refreshes, one is new. Only the first is flushed, and the list has the others.
    """
    mode = registrar.environment["KAMAILIO_DB_MODE"]
    http = start_api(kamailio_rpc=NOWHERE, **({"kamailio_db_mode": int(mode)} if db_mode else {}))
    headers = {"X-Auth-Token": directory.tokens["child"]}
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url)
    _wait_for_lead(worker)
    with (
        Phone("bob", "child.test", "secret", proxy=registrar.sip) as old,
        Phone("bob", "child.test", "secret", proxy=registrar.sip) as again,
        Phone("bob", "child.test", "secret", proxy=registrar.sip) as new,
    ):
        assert [old.register().status, again.register().status] == [200, 200]
        _wait_until_enriched(database)
        flushed = http.delete("/v2/accounts/child/registrations/bob?check_sync=false", headers=headers).get_json()
        assert (flushed["data"], flushed["pending"]) == ("ok", 2)
        worker.send(signal.SIGSTOP)  # otherwise it could retry while the two register
        clock.shift(-HOUR)
        assert [again.register().status, new.register().status] == [200, 200]
        worker.send(signal.SIGCONT)
        contacts = {f"sip:bob@{host}:{port}" for host, port in (again.local, new.local)}
        wait_until(lambda: _count(database, "flush where finished_at is null") == 0, 20, "the flush to be carried out")
        _wait_until_enriched(database)
    assert _contacts(registrar) == contacts
    listed = http.get("/v2/accounts/child/registrations", headers=headers).get_json()["data"]
    assert {each["contact"].strip("<>") for each in listed} == contacts
    record = http.get(f"/v2/accounts/child/registrations/flushes/{flushed['flush_id']}", headers=headers).get_json()
    assert (record["data"]["flushed"], record["data"]["pending"]) == (1, 0)


def _token(url: str) -> str:
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        return create_token(connection, "child", idle_lifetime=timedelta(hours=1))[1]


def _lives(url: str, token: str) -> bool:
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        return check_access(connection, token, wanted_account="child") is not None


def test_a_year_too_much_for_a_moment_costs_nothing(
    clock: WallClock,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
    database_url: str,
    add_binding: AddBinding,
) -> None:
    """A token, a row and a flush record seem to have expired meanwhile, but are kept. The worker keeps working."""
    token = _token(database_url)
    add_binding("bob", "child.test")
    add_binding("bob", "child.test", expires=1000)
    database.execute(
        "insert into flush (account_id, cause, requested_by, finished_at) values ('child', 'request', 'x', now())"
    )
    worker = start_worker(
        REGISTRATIONS_SYNC_EXPIRE_INTERVAL="1", REGISTRATIONS_SYNC_EXPIRE_GRACE="60", REGISTRATIONS_SYNC_FLUSH_KEEP="60"
    )
    _wait_for_lead(worker)
    wait_until(lambda: "expired=1" in worker.log_text(), 20, "the expired row to go")
    clock.shift(365 * DAY)
    assert not _lives(database_url, token)
    wait_until(lambda: "expiry suspended for a day" in worker.log_text(), 20, "the worker to notice the clock")
    add_binding("bob", "child.test")
    _wait_until_enriched(database)
    clock.shift(0)
    assert _lives(database_url, token)
    add_binding("bob", "child.test")
    _wait_until_enriched(database)
    assert (_count(database, "registrations"), _count(database, "flush")) == (3, 1)
    assert worker.is_running()


def test_an_hour_too_much_costs_nothing_where_nobody_knew_the_right_time(
    clock: WallClock,
    start_api: StartApi,
    start_jobs: StartJobs,
    directory: Directory,
    database: psycopg.Connection,
    database_url: str,
    add_binding: AddBinding,
) -> None:
    """A machine and its worker start with a wrong clock. What seems to have expired is kept for a while."""
    token = _token(database_url)
    add_binding("bob", "child.test")
    http = start_api(kamailio_rpc=NOWHERE)
    headers = {"X-Auth-Token": directory.tokens["child"]}
    assert http.delete("/v2/accounts/child/registrations/bob", headers=headers).get_json()["pending"] == 1
    clock.shift(HOUR)
    kept = ("auth_token", "location", "flush where finished_at is null", "flush_binding")
    before = [_count(database, what) for what in kept]
    start_jobs().expire()
    clock.shift(0)
    assert [_count(database, what) for what in kept] == before
    assert _lives(database_url, token)


def _check(database: psycopg.Connection, postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("REGISTRATIONS_DATABASE_URL", postgres.url(database.info.dbname, user="registrations_sync"))
    monkeypatch.setenv("REGISTRATIONS_KAMAILIO_RPC", NOWHERE)
    said = subprocess.run([*COMMAND, "check"], capture_output=True, text=True, check=False, timeout=60).stdout
    words = [line.split(maxsplit=2) for line in said.splitlines() if not line.startswith(" ")]
    return {word[1].rstrip(":"): f"{word[0]} {word[2]}" for word in words if len(word) == 3}


def test_what_waits_since_before_the_clock_was_set_back_is_told(
    clock: WallClock,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    add_binding: AddBinding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hung worker, a row without account and an unconfirmed flush are reported although they began in the future."""
    port = free_port()
    worker = start_worker(REGISTRATIONS_SYNC_METRICS_LISTEN=f"127.0.0.1:{port}")
    _wait_for_lead(worker)
    worker.send(signal.SIGSTOP)
    try:
        add_binding("bob", "child.test")
        database.execute("insert into flush (account_id, cause, requested_by) values ('child', 'request', 'child')")
        clock.shift(-HOUR)
        told = _check(database, postgres, monkeypatch)
        for finding, severity in (("worker", "FAULT"), ("enrichment_late", "WARNING"), ("flushes_late", "WARNING")):
            assert told[finding].startswith(severity)
            assert "since PostgreSQL's clock was set back" in told[finding]
    finally:
        worker.send(signal.SIGCONT)
    wait_until(lambda: _check(database, postgres, monkeypatch)["worker"].startswith("OK"), 20, "the worker to be heard")

    def age() -> Any:
        return scrape(port).samples.get(("kamailio_registrations_oldest_pending_flush_seconds", frozenset()))

    wait_until(lambda: age() is not None, 20, "the worker to measure")
    assert age() == 0, "no age is below 0"


def test_a_password_that_was_changed_in_the_future_flushes_nobody_twice(
    clock: WallClock,
    registrar: Proxy,
    start_jobs: StartJobs,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """It was changed while the clock was an hour ahead, so that for an hour REGISTERs with the new one seem older."""
    ha1 = hashlib.md5(b"bob:child.test:another", usedforsecurity=False).hexdigest()
    jobs = start_jobs(kamailio_rpc=registrar.rpc_url)
    clock.shift(HOUR)
    database.execute("update device set ha1 = %s where id = 'device-bob'", (ha1,))
    clock.shift(0)
    with Phone("bob", "child.test", "another", proxy=registrar.sip) as phone:
        assert phone.register().status == 200
    assert jobs.enrich() == {"enriched": 1}
    assert jobs.reconcile()["flushes_asked"] == 0
