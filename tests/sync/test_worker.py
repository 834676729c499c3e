"""The worker as a process: it leads alone, stops when told, and outlives PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psycopg

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sync.jobs import Jobs
from sync.settings import SyncSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.metrics import scrape
from tests.fixtures.worker import COMMAND, StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import daemon, free_port, wait_until


def _run(verb: str, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, **environment}
    return subprocess.run([*COMMAND, verb], env=environment, capture_output=True, text=True, check=False, timeout=30)


def _enriched(database: psycopg.Connection, ruid: str) -> bool:
    row = database.execute("select enriched_at is not null from location where ruid = %s", (ruid,)).fetchone()
    return bool(row and row[0])


def test_it_enriches_new_rows_and_stops_on_sigterm(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """A row that appears is enriched without being asked; SIGTERM ends the worker with exit code 0."""
    worker = start_worker()
    ruid = add_binding("bob", "child.test")
    wait_until(lambda: _enriched(database, ruid), 10, "the row to be enriched")
    worker.send(signal.SIGTERM)
    assert worker.process.wait(timeout=10) == 0
    assert "worker stopped" in worker.log_text()


def test_one_of_two_leads_and_the_other_takes_over(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """The lead is PostgreSQL's to give: when the leader is killed, the other has it."""
    first = start_worker()
    wait_until(lambda: "became leader" in first.log_text(), 10, "the first to lead")
    second = start_worker()
    ruid = add_binding("bob", "child.test")
    wait_until(lambda: _enriched(database, ruid), 10, "the row to be enriched")
    assert "became leader" not in second.log_text()
    first.kill()
    wait_until(lambda: "became leader" in second.log_text(), 10, "the second to lead")
    ruid = add_binding("alice", "sibling.test")
    wait_until(lambda: _enriched(database, ruid), 10, "the row to be enriched by the second")


def test_it_waits_for_postgresql_and_goes_on(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, postgres: Cluster, database_url: str
) -> None:
    """PostgreSQL may go and come back; the worker says so once and needs no restart."""
    worker = start_worker()
    wait_until(lambda: "became leader" in worker.log_text(), 10, "the worker to lead")
    postgres.stop()
    try:
        wait_until(lambda: "database unreachable" in worker.log_text(), 10, "the worker to notice")
    finally:
        postgres.start()
    wait_until(lambda: "database reachable again" in worker.log_text(), 20, "the worker to go on")
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("insert into location (ruid, username, domain, expires) values ('r', 'bob', 'child.test', 0)")
        wait_until(lambda: _enriched(database, "r"), 10, "the row to be enriched")
    assert worker.is_running()
    assert worker.log_text().count("database unreachable") == 1


def test_a_cancelled_statement_is_no_outage(
    start_worker: StartWorker,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    database_url: str,
) -> None:
    """The worker leads on, says so in its metrics, and does the job when it can."""
    port = free_port()
    worker = start_worker(
        REGISTRATIONS_SYNC_STATEMENT_TIMEOUT="0.2", REGISTRATIONS_SYNC_METRICS_LISTEN=f"127.0.0.1:{port}"
    )
    wait_until(lambda: "became leader" in worker.log_text(), 10, "the worker to lead")
    ruid = add_binding("bob", "child.test")
    with psycopg.connect(database_url) as locking:
        locking.execute("lock table location in access exclusive mode")
        wait_until(lambda: worker.log_text().count("statement timeout") > 1, 20, "the worker to give up twice")
        assert scrape(port).value("kamailio_registrations_worker_leads") == 1
    wait_until(lambda: _enriched(database, ruid), 10, "the row to be enriched")
    assert worker.log_text().count("became leader") == 1
    assert "database unreachable" not in worker.log_text()


def test_a_job_that_fails_is_logged_with_its_traceback_and_tried_again(
    start_worker: StartWorker, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """Here by a privilege that is missing; the other jobs run on."""
    database.execute("revoke select on location_enrichment from registrations_sync")
    database.execute(
        "insert into auth_token (token_hash, account_id, idle_lifetime, last_used_at) "
        "values (sha256('x'), 'child', '1 hour', now() - interval '1 year')"
    )
    worker = start_worker()
    ruid = add_binding("bob", "child.test")
    wait_until(lambda: worker.log_text().count("job failed") > 1, 10, "two failures")
    assert "Traceback" in worker.log_text()
    wait_until(lambda: "tokens_expired=1" in worker.log_text(), 10, "another job")
    database.execute("grant select on location_enrichment to registrations_sync")
    wait_until(lambda: _enriched(database, ruid), 10, "the row to be enriched")


def test_a_stale_schema_is_refused_with_its_remedy(kamdbctl_url: str) -> None:
    """Exit 1 and one line that names the command."""
    for verb in ("run", "once"):
        result = _run(verb, kamdbctl_url)
        assert result.returncode == 1, verb
        assert "registrations-db migrate" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_once_does_every_job(
    database: psycopg.Connection, postgres: Cluster, directory: Directory, proxy: Proxy
) -> None:
    """It needs no more than the worker's own role has, and says what it did."""
    with Phone("bob", "child.test", "secret", proxy=proxy.sip, from_uri="sip:boss@gw.test") as phone:
        assert phone.register().ok
    with proxy.rpc(socket=True) as client:
        announced = {"name": "registrations", "size": 1}
        wait_until(lambda: client.call("mqueue.get_size", "registrations") == announced, 10, "an announcement")
    url = postgres.url(database.info.dbname, user="registrations_sync")
    assert _run("once", url, REGISTRATIONS_KAMAILIO_RPC=proxy.rpc_url).stdout.splitlines() == [
        "enriched: 1",
        "reconciled: 0",
        "flushes_asked: 0",
        "expired: 0",
        "sources_expired: 0",
        "tokens_expired: 0",
        "flushes_expired: 0",
        "sources_written: 1",
        "flushed: 0",
        "superseded: 0",
        "rows_deleted: 0",
    ]


def test_a_wrong_zone_lets_no_live_row_expire(kamdbctl_url: str) -> None:
    """A row that only seems long expired, because Kamailio writes another zone's wall clock, is kept."""
    migrate(DatabaseSettings(database_url=kamdbctl_url, kamailio_timezone="Pacific/Kiritimati"))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        # Live for ten minutes more on the westernmost clock there is, 26 hours behind that of the setting.
        connection.execute(
            "insert into location (ruid, username, expires, last_modified) "
            "values ('r', 'bob', now() at time zone 'Etc/GMT+12' + interval '10 minutes', now())"
        )
        settings = DatabaseSettings(database_url=kamdbctl_url)
        with Database(settings, application_name="test", pool_size=1) as pool:
            assert Jobs(pool, Nodes(KamailioSettings()), SyncSettings(sync_expire_grace=60)).expire()["expired"] == 0


def test_a_login_that_is_refused_is_no_outage(database: psycopg.Connection, postgres: Cluster) -> None:
    """The worker does not wait for a role that does not exist: one line, exit 1."""
    for verb in ("run", "once"):
        result = _run(verb, postgres.url(database.info.dbname, user="nosuch"))
        assert result.returncode == 1
        assert 'role "nosuch" does not exist' in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_stale_schema_is_refused_also_when_the_database_comes_late(
    kamdbctl_url: str, postgres: Cluster, tmp_path: Path
) -> None:
    """A worker that started without PostgreSQL looks at the schema as soon as it is there."""
    log = tmp_path / "worker.log"
    postgres.stop()
    try:
        with daemon(
            [*COMMAND, "run"],
            log=log,
            env={"REGISTRATIONS_DATABASE_URL": kamdbctl_url},
            ready=lambda: log.exists() and "database unreachable" in log.read_text(),
        ) as worker:
            postgres.start()
            assert worker.process.wait(timeout=30) == 1
            assert "registrations-db migrate" in worker.log_text()
    finally:
        postgres.start()
