"""Metrics of the worker, scraped from a real one with a real Kamailio behind it."""

from __future__ import annotations

import socket

import psycopg
import pytest

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database
from sql.settings import DatabaseSettings
from sync.jobs import Jobs
from sync.metrics import Metrics
from sync.settings import SyncSettings
from sync.worker import Worker
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE
from tests.fixtures.location import AddBinding
from tests.fixtures.metrics import Scrape, scrape
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.postgres import Cluster
from tests.stand.process import DaemonFailed, free_port, wait_until

PREFIX = "kamailio_registrations_"


@pytest.fixture
def port() -> int:
    return free_port()


def _variables(port: int, **more: str) -> dict[str, str]:
    return {
        "REGISTRATIONS_SYNC_METRICS_LISTEN": f"127.0.0.1:{port}",
        "REGISTRATIONS_SYNC_METRICS_INTERVAL": "1",
        **more,
    }


def _counted(port: int, expected: int) -> Scrape:
    wait_until(lambda: scrape(port).value(PREFIX + "bindings") == expected, 20, f"{expected} to be counted")
    return scrape(port)


def test_registrations_are_counted_by_account_node_and_transport(
    start_worker: StartWorker,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    port: int,
) -> None:
    """The largest accounts each, the others together, and those without one; what is over or hidden is not there."""
    for number in range(3):
        add_binding(f"a{number}", "reseller.test", server_id=1)
    for number in range(2):
        add_binding(f"b{number}", "child.test", server_id=2, socket="tcp:203.0.113.1:5060")
    add_binding(
        "c", "sibling.test", server_id=2, socket="tls:203.0.113.1:5061", received="sip:198.51.100.7:3;transport=ws"
    )
    add_binding("d", "nowhere.test", server_id=2)
    add_binding("gone", "child.test", expires=1)
    add_binding("flushed", "child.test", last_modified=5, flushed=5)
    start_worker(**_variables(port, REGISTRATIONS_SYNC_METRICS_ACCOUNTS="1"))
    found = _counted(port, 7)
    wait_until(lambda: scrape(port).value(PREFIX + "account_bindings", account_id="reseller") == 3, 10, "accounts")
    found = scrape(port)
    accounts = {"reseller": 3, "/other": 3, "/none": 1}
    assert found.labels(PREFIX + "account_bindings", "account_id") == set(accounts)
    for account, count in accounts.items():
        assert found.value(PREFIX + "account_bindings", account_id=account) == count, account
    for node, count in {"1": 3, "2": 4}.items():
        assert found.value(PREFIX + "node_bindings", server_id=node) == count
    for transport, count in {"udp": 4, "tcp": 2, "wss": 1}.items():
        assert found.value(PREFIX + "transport_bindings", transport=transport) == count, transport
    # The view is what the API lists: the metrics count the same.
    listed = database.execute("select count(*) from registrations").fetchone()
    assert listed == (7,)


def test_what_waits_is_shown_with_its_age(
    start_worker: StartWorker, database: psycopg.Connection, directory: Directory, add_binding: AddBinding, port: int
) -> None:
    """Rows that cannot be enriched, since somebody holds them, and flushes that no node confirms."""
    add_binding("bob", "child.test")
    database.execute("update location set first_registered_at = now() - interval '100 seconds'")
    database.execute(
        "insert into flush (id, account_id, cause, requested_by, requested_at) "
        "values ('f', 'child', 'request', 'child', now() - interval '200 seconds')"
    )
    database.execute(
        "insert into flush_binding (flush_id, username, domain, server_id, modified_epoch, cseq, shown, due_at) "
        "values ('f', 'bob', 'child.test', 1, 0, 1, true, now() + interval '1 day')"
    )
    info = database.info
    with psycopg.connect(host=info.host, port=info.port, user=info.user, dbname=info.dbname) as holder:
        holder.execute("select from location for update")
        start_worker(**_variables(port))
        wait_until(lambda: scrape(port).value(PREFIX + "pending_flushes") == 1, 20, "the flush to be seen")
        found = scrape(port)
    assert found.value(PREFIX + "oldest_pending_flush_seconds") >= 200
    assert found.value(PREFIX + "enrichment_backlog_rows") == 1
    assert found.value(PREFIX + "enrichment_lag_seconds") >= 100


def test_jobs_are_timed_and_what_they_wrote_is_counted(
    start_worker: StartWorker, database: psycopg.Connection, directory: Directory, add_binding: AddBinding, port: int
) -> None:
    """An enriched row, a change of the directory that the comparison finds, and every run's duration."""
    add_binding("bob", "child.test")
    start_worker(**_variables(port))
    rows = PREFIX + "job_rows_total"
    wait_until(lambda: scrape(port).value(rows, name="enrich", what="enriched") == 1, 20, "the row to be enriched")
    database.execute("delete from device where id = 'device-bob'")
    wait_until(lambda: scrape(port).value(rows, name="reconcile", what="reconciled") == 1, 20, "the change to be found")
    found = scrape(port)
    assert found.value(rows, what="flushes_asked") == 1
    assert found.value(PREFIX + "worker_leads") == 1
    jobs = {"enrich", "reconcile", "expire", "flush", "count", "watch"}
    assert found.labels(PREFIX + "job_duration_seconds_count", "name") >= jobs
    assert found.value(PREFIX + "job_failures_total") == 0


def test_a_comparison_that_was_skipped_is_counted(
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes no time, so that the durations alone would look like fast comparisons."""
    monkeypatch.setattr("sync.comparisons.SHORT_SECONDS", 0.0)
    monkeypatch.setattr("sync.comparisons.IDLE_SHARE", 1e-9)
    url = postgres.url(database.info.dbname, user="registrations_sync")
    settings, metrics = SyncSettings(sync_reconcile_interval=1), Metrics(accounts=0)
    database_settings, nodes = DatabaseSettings(database_url=url), Nodes(KamailioSettings(kamailio_rpc=NOWHERE))
    worker = Worker(settings, database_settings, nodes, metrics)
    skips = ("kamailio_registrations_job_skips_total", {"name": "reconcile"})
    with Database(database_settings, application_name="test", pool_size=1) as pool:
        jobs = Jobs(pool, nodes, settings)
        for expected in (None, None, 1, 2):  # the first two make sure that nothing changed meanwhile
            worker._run_job(jobs.reconcile)
            assert metrics.registry.get_sample_value(*skips) == expected
    worker._leadership.release()


def test_calls_to_kamailio_are_timed_by_node(
    start_worker: StartWorker,
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    port: int,
    proxy: Proxy,
) -> None:
    """One node answers, the other is nowhere."""
    add_binding("bob", "child.test", server_id=1)
    add_binding("alice", "sibling.test", server_id=2)
    start_worker(**_variables(port, REGISTRATIONS_KAMAILIO_RPC=f"1={proxy.rpc_url},2={NOWHERE}"))
    wait_until(lambda: scrape(port).value(PREFIX + "job_rows_total", what="enriched") == 2, 20, "rows to be enriched")
    database.execute("update account set enabled = false where id in ('child', 'sibling')")
    errors = PREFIX + "rpc_errors_total"
    wait_until(
        lambda: scrape(port).value(errors, server_id="2", cause="KamailioUnreachable") > 0,
        20,
        "a failure to be counted",
    )
    calls = PREFIX + "rpc_duration_seconds_count"
    wait_until(
        lambda: scrape(port).value(calls, server_id="1", method="registrations.rm") > 0, 20, "a call to be timed"
    )
    assert scrape(port).value(errors, server_id="1", cause="KamailioUnreachable") == 0


def test_an_outage_is_a_failure_and_ends_what_was_found(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, postgres: Cluster, port: int
) -> None:
    """Stale numbers would look like calm: they go, and come back."""
    add_binding("bob", "child.test")
    start_worker(**_variables(port))
    _counted(port, 1)
    postgres.stop()
    try:
        wait_until(lambda: scrape(port).value(PREFIX + "worker_leads") == 0, 30, "the lead to be lost")
        assert PREFIX + "bindings" not in scrape(port).kinds
    finally:
        postgres.start()
    _counted(port, 1)


def test_who_does_not_lead_shows_no_numbers_of_the_database(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, port: int
) -> None:
    """Two workers are scraped; a sum over both counts nothing twice."""
    add_binding("bob", "child.test")
    leader = start_worker(**_variables(port))
    _counted(port, 1)
    other = free_port()
    start_worker(**_variables(other))
    found = scrape(other)
    assert found.value(PREFIX + "worker_leads") == 0
    assert PREFIX + "bindings" not in found.kinds
    leader.kill()
    _counted(other, 1)


def test_an_address_that_is_taken_is_an_operators_mistake(start_worker: StartWorker) -> None:
    """One line that names the variable, and the worker does not run without what it was told to show."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DaemonFailed, match="REGISTRATIONS_SYNC_METRICS_LISTEN"):
            start_worker(**_variables(port))
