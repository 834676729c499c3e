"""The worker imports from Kazoo by itself: as its own role, beside its other jobs, and it can be told to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event

import psycopg
import pytest

from sql.settings import DatabaseSettings
from sync.kazoo.job import import_kazoo
from sync.kazoo.settings import KazooSettings
from tests.fixtures.worker import StartWorker
from tests.stand.hostile_kazoo import TOKEN, hostile_kazoo, said
from tests.stand.process import wait_until
from tests.stand.stand_in_kazoo import API_KEY, StandInKazoo, stand_in_kazoo


@pytest.fixture
def kazoo() -> Iterator[StandInKazoo]:
    with stand_in_kazoo() as running:
        running.add_account("root", tree=[], name="Root", realm="root.test")
        for number in range(30):
            running.add_device("root", f"d{number}", sip={"username": f"u{number}", "password": "secret"})
        yield running


@pytest.fixture
def environment(kazoo: StandInKazoo, tmp_path: Path) -> dict[str, str]:
    key = tmp_path / "key"
    key.write_text(API_KEY)
    return {
        "REGISTRATIONS_SYNC_KAZOO_URL": kazoo.url,
        "REGISTRATIONS_KAZOO_API_KEY_FILE": str(key),
        "REGISTRATIONS_KAZOO_RATE": "1000",
        "REGISTRATIONS_KAZOO_DIRECTORY": str(tmp_path / "state"),
    }


@pytest.fixture
def importer(database: psycopg.Connection) -> Iterator[None]:
    """The worker's role may import; roles belong to all databases, so it is taken back."""
    database.execute("grant registrations_import to registrations_sync")
    yield
    database.execute("revoke registrations_import from registrations_sync")


@pytest.mark.usefixtures("importer")
def test_the_worker_brings_the_directory_to_what_kazoo_has(
    start_worker: StartWorker, database: psycopg.Connection, environment: dict[str, str]
) -> None:
    """Its devices come, and what Kazoo does not have goes."""
    database.execute("insert into account (id, name, realm) values ('old', 'Old', 'old.test')")
    start_worker(**environment)
    query = "select (select count(*) from device), (select array_agg(id::text) from account)"
    wait_until(lambda: database.execute(query).fetchone() == (30, ["root"]), 20, "the import")


def test_a_worker_that_may_not_import_says_so_and_goes_on(
    start_worker: StartWorker, database: psycopg.Connection, environment: dict[str, str]
) -> None:
    """It keeps to its other jobs."""
    worker = start_worker(**environment)
    wait_until(lambda: "permission denied for" in worker.log_text(), 20, "the refusal in the log")
    database.execute("insert into location (ruid, username, domain) values ('r', 'u', 'd.test')")
    query = "select enriched_at is not null from location"
    wait_until(lambda: database.execute(query).fetchone() == (True,), 10, "the row to be enriched")
    assert API_KEY not in worker.log_text()


@pytest.mark.usefixtures("importer")
def test_a_worker_that_is_told_to_stop_stops_amid_a_slow_pull(
    start_worker: StartWorker, kazoo: StandInKazoo, environment: dict[str, str]
) -> None:
    """A pull may take hours; SIGTERM does not wait for it, and what was pulled is kept."""
    environment["REGISTRATIONS_KAZOO_RATE"] = "0.01"
    worker = start_worker(**environment)
    wait_until(lambda: kazoo.asked["api_auth"], 20, "the pull to begin")
    assert worker.stop() == 0


@pytest.mark.usefixtures("importer")
def test_a_worker_that_is_told_to_stop_does_not_wait_for_an_answer(
    start_worker: StartWorker, environment: dict[str, str]
) -> None:
    """Kazoo has taken the request, and says nothing more."""
    with hostile_kazoo() as kazoo:
        kazoo.answers["accounts/root/users"] = lambda _: (b"" for _ in iter(kazoo.ending.wait, True))
        environment |= {"REGISTRATIONS_SYNC_KAZOO_URL": kazoo.url, "REGISTRATIONS_KAZOO_TIMEOUT": "600"}
        worker = start_worker(**environment)
        wait_until(lambda: any("/users" in target for target in kazoo.asked), 20, "the request")
        assert worker.stop() == 0


@pytest.mark.usefixtures("importer")
def test_a_hostile_kazoo_keeps_the_worker_from_nothing_else(
    start_worker: StartWorker, database: psycopg.Connection, environment: dict[str, str]
) -> None:
    """One line in the log, without key, token or traceback; the other jobs go on."""
    with hostile_kazoo() as kazoo:
        kazoo.answers["accounts/root/devices/d1"] = said(data={"id": "d1", "sip": [TOKEN]})
        worker = start_worker(**environment | {"REGISTRATIONS_SYNC_KAZOO_URL": kazoo.url})
        wait_until(lambda: "d1: sip must be an object, not an array" in worker.log_text(), 20, "the log")
        database.execute("insert into location (ruid, username, domain) values ('r', 'u', 'd.test')")
        query = "select enriched_at is not null from location"
        wait_until(lambda: database.execute(query).fetchone() == (True,), 10, "the row to be enriched")
    log = worker.log_text()
    assert log.count("import failed") == 1
    assert [text for text in (API_KEY, TOKEN, "Traceback") if text in log] == []
    assert database.execute("select count(*) from account").fetchone() == (0,)


def test_an_import_is_tried_again_the_next_time(
    database: psycopg.Connection, database_url: str, tmp_path: Path
) -> None:
    """A redirect, no JSON, a list in a document's place; then Kazoo is mended."""
    settings = KazooSettings(kazoo_api_key=API_KEY, kazoo_rate=1000, kazoo_directory=tmp_path)
    with hostile_kazoo() as kazoo:
        database_settings = DatabaseSettings(database_url=database_url)
        job = partial(import_kazoo, kazoo.url, settings, database_settings, stopping=Event(), leads=lambda: True)
        path = "accounts/root/devices/d1"
        good = kazoo.answers[path]
        for bad in (said(302, headers=["Location: /"]), said(data=[])):
            kazoo.answers[path] = bad
            assert job() == {}
        kazoo.answers[path] = good
        assert job() == {"created": 1, "updated": 0, "deleted": 0}


def test_a_worker_that_freezes_amid_a_pull_writes_nothing_when_it_wakes(
    start_worker: StartWorker, kazoo: StandInKazoo, environment: dict[str, str], database: psycopg.Connection
) -> None:
    """What it has pulled is old by then, and another worker may have imported what is newer."""
    environment["REGISTRATIONS_KAZOO_RATE"] = "5"
    frozen = start_worker(**environment)
    wait_until(lambda: kazoo.asked["accounts/root/devices/d0"], 20, "the pull to be under way")
    frozen.send(signal.SIGSTOP)
    try:
        other = start_worker(REGISTRATIONS_SYNC_LEAD_TIMEOUT="5")
        wait_until(lambda: "became leader" in other.log_text(), 20, "another to lead")
    finally:
        frozen.send(signal.SIGCONT)
    wait_until(lambda: "import stopped: another worker is leader" in frozen.log_text(), 20, "it to notice")
    assert database.execute("select count(*) from device").fetchone() == (0,)
