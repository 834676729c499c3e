"""The job that writes where REGISTERs came from: what each node says, whatever the others and the database do."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from sql.errors import DatabaseUnreachable, StatementFailed
from tests.fixtures.directory import Directory
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartJobs, StartWorker
from tests.stand.kamailio import CONFIGURATION, with_line
from tests.stand.phone import Phone
from tests.stand.process import free_port, wait_until

SOURCE = "sip:192.0.2.1:5060"


def elements(directory: Path, first: int, count: int) -> Path:
    """A kamailio.cfg in whose queue something is said of bindings, the last of it once more and otherwise."""
    numbers = range(first, first + count)
    said = [(number, SOURCE) for number in numbers] + [(numbers[-1], "sip:192.0.2.2:5060")]
    add = "".join(f'\tmq_add("registrations", "r{number}", "{source}||");\n' for number, source in said)
    directory.mkdir(exist_ok=True)
    return with_line(directory, f"event_route[htable:mod-init] {{\n{add}}}\n")


def sources(database: psycopg.Connection) -> dict[str, str]:
    """What the table says."""
    return dict(database.execute("select ruid, received from registration_source").fetchall())


def expected(first: int, count: int) -> dict[str, str]:
    """What was put in by `elements`."""
    names = [f"r{number}" for number in range(first, first + count)]
    return {**dict.fromkeys(names, SOURCE), names[-1]: "sip:192.0.2.2:5060"}


@pytest.fixture
def phones() -> Iterator[ExitStack]:
    """Closes the phones that enter it."""
    with ExitStack() as stack:
        yield stack


def test_all_that_a_node_says_is_written_and_the_last_counts(
    start_kamailio: StartKamailio, start_jobs: StartJobs, database: psycopg.Connection, tmp_path: Path
) -> None:
    """In more than one batch, and nothing is left for the next run."""
    proxy = start_kamailio(configuration=elements(tmp_path, 0, 250))
    jobs = start_jobs(kamailio_rpc=proxy.rpc_url)
    assert jobs.fetch(0) == {"sources_written": 250}
    assert sources(database) == expected(0, 250)
    assert jobs.fetch(0) == {"sources_written": 0}


def test_what_could_not_be_written_is_written_later(
    start_kamailio: StartKamailio,
    start_jobs: StartJobs,
    database: psycopg.Connection,
    database_url: str,
    tmp_path: Path,
) -> None:
    """And nothing is fetched before that: Kamailio can hold more than a worker."""
    proxy = start_kamailio(configuration=elements(tmp_path, 0, 3))
    jobs = start_jobs(kamailio_rpc=proxy.rpc_url)
    with psycopg.connect(database_url) as other:
        other.execute("lock table registration_source in access exclusive mode")
        with pytest.raises(DatabaseUnreachable):
            jobs.fetch(0)
        with proxy.rpc(socket=True) as client:
            assert client.call("mqueue.get_size", "registrations") == {"name": "registrations", "size": 0}
        with pytest.raises(DatabaseUnreachable):
            jobs.fetch(0)
    assert jobs.fetch(0) == {"sources_written": 3}
    assert sources(database) == expected(0, 3)


def test_what_postgresql_refuses_keeps_nothing_waiting(
    start_kamailio: StartKamailio, start_jobs: StartJobs, database: psycopg.Connection, tmp_path: Path
) -> None:
    """It would be refused the next time, too."""
    proxy = start_kamailio(configuration=elements(tmp_path, 0, 3))
    jobs = start_jobs(kamailio_rpc=proxy.rpc_url)
    database.execute("alter table registration_source add constraint odd check (ruid <> 'r1')")
    with pytest.raises(StatementFailed):
        jobs.fetch(0)
    assert jobs.fetch(0) == {"sources_written": 0}
    proxy.restart()
    database.execute("alter table registration_source drop constraint odd")
    assert jobs.fetch(0) == {"sources_written": 3}


def test_a_node_without_a_queue_is_told_once_and_delays_no_other(
    start_kamailio: StartKamailio,
    start_jobs: StartJobs,
    database: psycopg.Connection,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its registrations.cfg is old; what the others say is written."""
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(CONFIGURATION, old)
    text = CONFIGURATION.with_name("registrations.cfg").read_text(encoding="utf-8")
    (old / "registrations.cfg").write_text(text.replace("name=registrations;", "name=other;"), encoding="utf-8")
    first = start_kamailio(server_id=1, configuration=old / CONFIGURATION.name)
    second = start_kamailio(server_id=2, configuration=elements(tmp_path / "new", 0, 3))
    jobs = start_jobs(kamailio_rpc=f"1={first.rpc_url},2={second.rpc_url},3=http://127.0.0.1:{free_port()}/RPC")
    for _ in range(3):
        for node in (1, 3, 2):
            jobs.fetch(node)
    assert sources(database) == expected(0, 3)
    told = [
        (record.getMessage(), vars(record)["server_id"]) for record in caplog.records if record.name == "sync.sources"
    ]
    assert told == [
        ("registration sources not served: registrations.cfg is outdated or not loaded", 1),
        ("node unreachable, registration sources delayed", 3),
    ]
    assert first.log.count("no such mqueue") == 1, "it is left alone for a while"


def test_while_a_node_is_frozen_the_worker_does_everything_else(
    start_kamailio: StartKamailio,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
    phones: ExitStack,
) -> None:
    """Rows are enriched, and what the other node says is written; the frozen one's is when it wakes."""
    first, second = start_kamailio(server_id=1), start_kamailio(server_id=2)
    bob, alice = (
        phones.enter_context(
            Phone(user, realm, "secret", proxy=proxy.sip, from_uri="sip:boss@gw.test", contact=f"sip:{user}@192.0.2.1")
        )
        for user, realm, proxy in (("bob", "child.test", first), ("Alice", "reseller.test", second))
    )
    assert bob.register().ok
    assert alice.register().ok
    os.killpg(first.pid, signal.SIGSTOP)
    try:
        start_worker(REGISTRATIONS_KAMAILIO_RPC=f"1={first.rpc_url},2={second.rpc_url}")
        wait_until(lambda: _third_parties(database) == {("alice", "boss")}, 20, "what the second node says")
        wait_until(lambda: _enriched(database) == 2, 20, "both rows to be enriched")
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    wait_until(lambda: len(_third_parties(database)) == 2, 30, "what the first node says")


def _third_parties(database: psycopg.Connection) -> set[tuple[str, str]]:
    query = "select username, from_user from registrations where from_user <> username"
    return {(username, from_user) for username, from_user in database.execute(query).fetchall()}


def _enriched(database: psycopg.Connection) -> int:
    (count,) = database.execute("select count(*) from location where enriched_at is not null").fetchone() or (0,)
    return int(count)
