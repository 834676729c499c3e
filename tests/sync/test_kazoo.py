"""The worker imports from Kazoo by itself: as its own role, beside its other jobs, and it can be told to stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.worker import StartWorker
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
