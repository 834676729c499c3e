"""The worker's intervals and limits are what its settings say."""

from __future__ import annotations

import time

import psycopg

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import StartWorker
from tests.stand.process import wait_until

# What runs as seldom as it can.
SELDOM = {"ENRICH_INTERVAL": "3600", "RECONCILE_INTERVAL": "86400", "EXPIRE_INTERVAL": "86400"}


def _settings(**settings: str) -> dict[str, str]:
    return {f"REGISTRATIONS_SYNC_{name}": value for name, value in {**SELDOM, **settings}.items()}


def _number(database: psycopg.Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _wait_for(database: psycopg.Connection, query: str, number: int, what: str) -> None:
    wait_until(lambda: _number(database, query) == number, 20, what)


def test_new_rows_are_looked_for_at_the_interval(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """REGISTRATIONS_SYNC_ENRICH_INTERVAL, again and again."""
    start_worker(**_settings(ENRICH_INTERVAL="0.1"))
    for number in range(3):
        add_binding(f"phone{number}", "child.test")
        _wait_for(database, "select count(*) from location where enriched_at is null", 0, "the row to be enriched")


def test_the_directory_is_compared_at_the_interval(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """REGISTRATIONS_SYNC_RECONCILE_INTERVAL, again and again."""
    add_binding("bob", "child.test")
    start_worker(**_settings(RECONCILE_INTERVAL="1"))
    for device_id in ("first", "second"):
        database.execute("update device set id = %s where account_id = 'child'", (device_id,))
        followed = f"select count(*) from location where device_id = '{device_id}'"
        _wait_for(database, followed, 1, "the row to follow the directory")


def test_the_dead_are_looked_for_at_the_interval_and_kept_for_the_grace(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """REGISTRATIONS_SYNC_EXPIRE_INTERVAL, again and again, and REGISTRATIONS_SYNC_EXPIRE_GRACE."""
    start_worker(**_settings(EXPIRE_INTERVAL="1", EXPIRE_GRACE="600"))
    now = int(time.time())
    add_binding("lately", "child.test", expires=now - 300)
    for number in range(2):
        add_binding(f"dead{number}", "child.test", expires=now - 900)
        _wait_for(database, "select count(*) from location where username like 'dead%'", 0, "the row to be removed")
    assert _number(database, "select count(*) from location") == 1


def test_a_statement_of_the_worker_takes_no_longer_than_the_setting(
    start_worker: StartWorker,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    database_url: str,
) -> None:
    """REGISTRATIONS_SYNC_STATEMENT_TIMEOUT: it gives a locked table up, says so, and goes on when it is free."""
    worker = start_worker(**_settings(ENRICH_INTERVAL="0.1", STATEMENT_TIMEOUT="0.2"))
    with psycopg.connect(database_url) as locking:
        locking.execute("lock table location in access exclusive mode")
        wait_until(lambda: "statement timeout" in worker.log_text(), 20, "the worker to give up")
    add_binding("bob", "child.test")
    _wait_for(database, "select count(*) from location where enriched_at is null", 0, "the row to be enriched")
    assert worker.is_running()


def test_so_many_rows_are_written_at_a_time(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """REGISTRATIONS_SYNC_BATCH: each batch is a transaction of its own, with its own time."""
    for number in range(8):
        add_binding(f"phone{number}", "child.test")
    start_worker(**_settings(BATCH="3"))
    _wait_for(database, "select count(*) from location where enriched_at is null", 0, "all batches")
    query = "select max(rows) from (select count(*) as rows from location group by enriched_at) batches"
    assert _number(database, query) == 3
