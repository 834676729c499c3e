"""A worker that leads and freezes, in the midst of anything: another takes its place, and its waking does no harm."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from sql.connections.database import Database
from sql.errors import DatabaseUnreachable
from sql.flushes.requests import request_flush
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.kamailio import AddDevice
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import Daemon, wait_until

pytestmark = pytest.mark.long

LEADS, FOLLOWS = "became leader", "lost leadership"
# The shortest patience there is, but no call to a node is given up while somebody is frozen.
PATIENCE = {
    "REGISTRATIONS_SYNC_LEAD_TIMEOUT": "5",
    "REGISTRATIONS_SYNC_FLUSH_BUDGET": "300",
    "REGISTRATIONS_KAMAILIO_TIMEOUT": "60",
}
# Nothing but what keeps the lead, and flushes.
SELDOM = {
    "REGISTRATIONS_SYNC_ENRICH_INTERVAL": "3600",
    "REGISTRATIONS_SYNC_RECONCILE_INTERVAL": "86400",
    "REGISTRATIONS_SYNC_EXPIRE_INTERVAL": "86400",
}
PHONES = 12


@pytest.fixture
def start_leader(start_worker: StartWorker) -> StartWorker:
    """A worker that leads when it is returned."""

    def start(**environment: str) -> Daemon:
        worker = start_worker(**PATIENCE, **environment)
        wait_until(lambda: LEADS in worker.log_text(), 10, "the first to lead")
        return worker

    return start


@pytest.fixture
def phones(proxy: Proxy, add_device: AddDevice) -> Iterator[list[Phone]]:
    """Registered phones of example.com."""
    with ExitStack() as stack:
        found = []
        for number in range(PHONES):
            add_device(f"phone-{number}")
            found.append(Phone(f"phone-{number}", "example.com", "secret", proxy=proxy.sip))
            stack.enter_context(found[-1])
            assert found[-1].register().ok
        yield found


def _signal_kamailio(proxy: Proxy, number: int) -> None:
    os.killpg(proxy.pid, number)


def _count(database: psycopg.Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _asked(proxy: Proxy) -> bool:
    """Whether a request waits in a connection to Kamailio's JSON-RPC."""
    local = f":{proxy.rpc_port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(line[1].endswith(local) and int(line[4].partition(":")[2], 16) for line in lines if line[3] == "01")


def _flush(database: psycopg.Connection) -> None:
    assert request_flush(database, "example.com", cause="request", requested_by="test", lease=0, late=False)


def _end(worker: Daemon) -> None:
    """Wake it, and let it end what was under way."""
    worker.send(signal.SIGCONT)
    wait_until(lambda: FOLLOWS in worker.log_text(), 20, "it to see that it leads no more")
    assert worker.stop(grace=30) == 0
    assert "Traceback" not in worker.log_text()


def test_another_takes_the_place_of_a_frozen_leader(
    start_leader: StartWorker,
    start_worker: StartWorker,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
) -> None:
    """While its session lasts; when it wakes it follows."""
    frozen = start_leader()
    second = start_worker(**PATIENCE)
    frozen.send(signal.SIGSTOP)
    try:
        wait_until(lambda: LEADS in second.log_text(), 20, "the second to lead")
        add_binding("bob", "child.test")
        waiting = "select count(*) from location where enriched_at is null"
        wait_until(lambda: not _count(database, waiting), 10, "the row to be enriched by the second")
    finally:
        _end(frozen)
    assert frozen.log_text().count(LEADS) == 1
    assert FOLLOWS not in second.log_text()


def test_a_worker_that_starts_again_takes_the_lead_from_its_own_dead_session(
    start_leader: StartWorker, start_worker: StartWorker, database: psycopg.Connection
) -> None:
    """As after the end of a machine, of which PostgreSQL hears nothing: here its process is there and says nothing."""
    dead = start_leader()
    dead.send(signal.SIGSTOP)
    again = start_worker(**PATIENCE)
    wait_until(lambda: LEADS in again.log_text(), 20, "the lead")
    dead.kill()


def test_a_leader_that_freezes_amid_a_flush_removes_nothing_newer_when_it_wakes(
    start_leader: StartWorker,
    start_worker: StartWorker,
    database: psycopg.Connection,
    proxy: Proxy,
    phones: list[Phone],
) -> None:
    """Its calls are decided and under way. Another completes the flush meanwhile, and all phones come back.

    Then what the frozen one still sends removes no phone, and what it still notes changes no record.
    """
    rpc = {"REGISTRATIONS_KAMAILIO_RPC": f"1={proxy.rpc_url}"}
    frozen = start_leader(**rpc)
    unenriched = "select count(*) from location where enriched_at is null"
    wait_until(lambda: not _count(database, unenriched), 10, "the rows to be enriched")
    _signal_kamailio(proxy, signal.SIGSTOP)
    try:
        _flush(database)
        wait_until(lambda: _asked(proxy), 10, "the leader to ask Kamailio")
        frozen.send(signal.SIGSTOP)
    finally:
        _signal_kamailio(proxy, signal.SIGCONT)
    for phone in phones[::2]:  # some before another worker comes to them
        assert phone.register().ok
    second = start_worker(**PATIENCE, **rpc)
    unfinished = "select count(*) from flush where finished_at is null"
    wait_until(lambda: not _count(database, unfinished), 20, "the second to complete the flush")
    for phone in phones:
        assert phone.register().ok
    live = "select array_agg(ruid order by ruid) from live_location"
    wait_until(lambda: not _count(database, unenriched), 10, "all to be enriched again")
    records = "select f, n, (select count(*) from flush_binding) from flush f join flush_node n on n.flush_id = f.id"
    before = database.execute(live).fetchone(), database.execute(records).fetchall()
    _end(frozen)
    assert (database.execute(live).fetchone(), database.execute(records).fetchall()) == before
    assert _count(database, "select count(*) from live_location") == PHONES
    assert second.is_running()


def test_a_leader_that_waits_for_a_frozen_kamailio_is_not_taken_for_frozen(
    start_leader: StartWorker,
    start_worker: StartWorker,
    database: psycopg.Connection,
    proxy: Proxy,
    phones: list[Phone],
) -> None:
    """No other job is due; it is heard all the same, for longer than silence is suffered."""
    rpc = {"REGISTRATIONS_KAMAILIO_RPC": f"1={proxy.rpc_url}"}
    leader = start_leader(**SELDOM, **rpc)
    second = start_worker(**PATIENCE, **SELDOM, **rpc)
    _signal_kamailio(proxy, signal.SIGSTOP)
    try:
        _flush(database)
        wait_until(lambda: _asked(proxy), 10, "the leader to ask Kamailio")
        database.execute("create table began as select clock_timestamp() as at")
        heard = "select count(*) from leading_session, began where state_change > at + interval '8 seconds'"
        wait_until(lambda: _count(database, heard), 20, "a late sign of life")
        assert LEADS not in second.log_text()
        assert FOLLOWS not in leader.log_text()
    finally:
        _signal_kamailio(proxy, signal.SIGCONT)


@pytest.mark.slow
def test_what_a_program_holds_that_freezes_in_a_transaction_is_free_again(
    database: psycopg.Connection, postgres: Cluster, directory: Directory
) -> None:
    """PostgreSQL ends its session, and tells it so when it wakes: here it is this program that does nothing."""
    settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user="registrations_sync"))
    database.execute("insert into flush (account_id, cause, requested_by) values ('child', 'request', 'test')")
    lock = "select id from flush for update"
    database.execute("set lock_timeout = '60s'")
    with Database(settings, application_name="test", pool_size=1) as pool:

        def freeze() -> None:
            with pool.connection() as frozen, frozen.transaction():
                frozen.execute(lock)
                assert len(database.execute(lock).fetchall()) == 1
                frozen.execute("select 1")

        with pytest.raises(DatabaseUnreachable, match="idle-in-transaction"):
            freeze()
        with pool.connection() as connection:
            assert len(connection.execute(lock).fetchall()) == 1
