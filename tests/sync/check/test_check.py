"""`registrations-sync check` with a real Kamailio and a real worker: nothing on a healthy system, and each finding."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kamailio.settings import KamailioSettings
from kamailio.survey import Survey
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sql.worker.leadership import Leadership
from sync.check.exposure import own_addresses
from sync.check.survey import check_survey
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import COMMAND, StartWorker
from tests.stand.kamailio import CONFIGURATION, Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import free_port, wait_until

pytestmark = pytest.mark.long

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Check = Callable[..., dict[str, Any]]


@pytest.fixture
def run(database: psycopg.Connection, postgres: Cluster) -> Run:
    """Run the check with the rights of the worker's role; keyword arguments are variables."""
    url = postgres.url(database.info.dbname, user="registrations_sync")

    def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, **environment}
        command: list[str | Path] = [*COMMAND, "check", *options]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture
def check(run: Run) -> Check:
    """What does not stand, by id, with the URLs of the nodes; the exit status must be as the severities say."""

    def check(rpc: str, **environment: str) -> dict[str, Any]:
        done = run("--json", REGISTRATIONS_KAMAILIO_RPC=rpc, **environment)
        assert done.returncode in (0, 1, 2), done.stderr
        told = json.loads(done.stdout)
        severities = {each["severity"] for each in told["findings"]}
        assert done.returncode == told["exit_status"] == (2 if "fault" in severities else int("warning" in severities))
        return {each["id"]: each for each in told["findings"]}

    return check


def _is_led(worker: Any) -> bool:
    return "became leader" in worker.log_text()


def test_a_healthy_system_has_no_finding(
    run: Run,
    start_kamailio: StartKamailio,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
) -> None:
    """Kamailio, worker, phones, each with the rights of its role: every line says what stands, and the status is 0."""
    proxy = start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=f"1={proxy.rpc_url}")
    database.execute("delete from device where id = 'device-other'")
    with (
        Phone("Alice", "reseller.test", "secret", proxy=proxy.sip) as alice,
        Phone("bob", "child.test", "secret", proxy=proxy.sip) as bob,
    ):
        assert [alice.register().status, bob.register().status] == [200, 200]
        enriched = "select count(*) = 2 from location where device_id is not null"
        wait_until(lambda: (database.execute(enriched).fetchone() or [0])[0], 15, "both to be enriched")
        wait_until(lambda: _is_led(worker), 10, "the worker to lead")
        done = run(REGISTRATIONS_KAMAILIO_RPC=f"1={proxy.rpc_url}")
        told = json.loads(run("--json", REGISTRATIONS_KAMAILIO_RPC=f"1={proxy.rpc_url}").stdout)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "all well"), done.stdout
    assert {line.split()[0] for line in lines[:-1]} == {"OK"}
    assert (told["status"], told["exit_status"], told["findings"]) == ("ok", 0, [])
    stand = {"schema", "grants", "location", "clock", "directory", "rows", "bindings", "worker", "flushes", "node"}
    assert {each["id"] for each in told["passed"]} >= stand
    assert any(re.search(r"kamailio \d+\.\d+\.\d+", each["what"]) for each in told["passed"] if each["id"] == "node")


def test_a_finding_is_told_with_its_reason_and_its_remedy(run: Run) -> None:
    """In words for people, the worst ones first, and a last line that counts them."""
    done = run(REGISTRATIONS_KAMAILIO_RPC=NOWHERE)
    lines = done.stdout.splitlines()
    assert done.returncode == 2
    first = next(number for number, line in enumerate(lines) if line.startswith("FAULT"))
    assert lines[first + 1].startswith("         why: ")
    assert lines[first + 2].startswith("         do:  ")
    assert lines[-1] == "2 faults", done.stdout  # neither worker nor Kamailio


def test_what_cannot_be_checked_is_unknown(run: Run) -> None:
    """Exit status 3 and one line that names the variable, for monitoring to tell from a fault."""
    for nodes in ("1=ftp://127.0.0.1", "http://a:1/RPC,http://b:1/RPC", "1=http://a:1/RPC,1=http://b:1/RPC", ","):
        failed = run(REGISTRATIONS_KAMAILIO_RPC=nodes)
        assert failed.returncode == 3, nodes
        assert "REGISTRATIONS_KAMAILIO_RPC" in failed.stderr
        assert len(failed.stderr.strip().splitlines()) == 1, failed.stderr


def test_without_postgresql_the_nodes_are_checked_all_the_same(check: Check, proxy: Proxy, postgres: Cluster) -> None:
    """An outage, a login that is refused and an old schema are each one fault beside what the nodes say."""
    nowhere = check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert set(nowhere) == {"database"}
    refused = check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL=postgres.url(user="nosuch"))
    assert set(refused) == {"database"}
    assert 'role "nosuch" does not exist' in refused["database"]["what"]
    old = check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL=postgres.url())
    assert set(old) == {"schema"}
    assert "registrations-db migrate" in old["schema"]["remedy"]


def test_a_worker_that_is_away_or_hangs_is_told(check: Check, proxy: Proxy, start_worker: StartWorker) -> None:
    """Nobody leads; or who leads is not heard of any more, though its session lasts."""
    fast = {"REGISTRATIONS_SYNC_ENRICH_INTERVAL": "0.1"}
    assert "no worker runs" in check(proxy.rpc_url, **fast)["worker"]["what"]
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=proxy.rpc_url)
    wait_until(lambda: _is_led(worker), 10, "the worker to lead")
    assert "worker" not in check(proxy.rpc_url, **fast)
    worker.send(signal.SIGSTOP)
    try:
        wait_until(lambda: "worker" in check(proxy.rpc_url, **fast), 40, "its silence to be told", interval=1)
        assert "has given no sign of life for" in check(proxy.rpc_url, **fast)["worker"]["what"]
    finally:
        worker.send(signal.SIGCONT)


def test_a_worker_whose_silence_cannot_be_seen_is_told(
    check: Check, proxy: Proxy, database: psycopg.Connection, postgres: Cluster
) -> None:
    """PostgreSQL hides from one login when the session of another was used."""
    login = "worker_of_another_login"
    database.execute(f"create role {login} login in role registrations_sync")
    settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user=login))
    leadership = Leadership(settings, patience=30)
    try:
        assert leadership.hold()
        found = check(proxy.rpc_url)["worker"]
        assert (found["severity"], "another login" in found["what"]) == ("warning", True)
        database.execute("grant pg_read_all_stats to registrations_sync")
        assert "worker" not in check(proxy.rpc_url)
    finally:
        database.execute("revoke pg_read_all_stats from registrations_sync")
        leadership.release()
        database.execute(f"drop role {login}")


def test_what_waits_too_long_is_told(
    check: Check, proxy: Proxy, database: psycopg.Connection, directory: Directory, add_binding: AddBinding
) -> None:
    """Rows that nobody enriches, and flushes that nobody finishes, with what a node said."""
    add_binding("bob", "child.test")
    database.execute("update location set first_registered_at = now() - interval '5 minutes'")
    database.execute(
        "insert into flush (id, account_id, cause, requested_by, requested_at) "
        "values ('f', 'child', 'request', 'child', now() - interval '5 minutes')"
    )
    database.execute("insert into flush_node (flush_id, node, attempted_at, last_error) values ('f', 0, now(), 'gone')")
    found = check(proxy.rpc_url)
    assert "1 rows" in found["enrichment_late"]["what"]
    assert "the last error of a node: gone" in found["flushes_late"]["what"]


def test_rows_of_a_node_that_is_not_named_are_told(check: Check, proxy: Proxy, add_binding: AddBinding) -> None:
    """By server_id, with how many: a fault where a node filters, since nobody loads them. A note elsewhere."""
    for username in ("a", "b"):
        add_binding(username, "child.test", server_id=7)
    for rpc in (f"1={proxy.rpc_url}", proxy.rpc_url):
        found = check(rpc)["server_id_unknown"]
        assert (found["severity"], "7 (2)" in found["what"]) == ("fault", True)
    assert "server_id_unknown" not in check(f"1={proxy.rpc_url},7={NOWHERE}")
    proxy.restart(KAMAILIO_SERVER_ID_FILTER="0")
    assert check(proxy.rpc_url)["server_id_unknown"]["severity"] == "note"


def test_a_node_that_cannot_remove_one_contact_is_told(check: Check, start_kamailio: StartKamailio) -> None:
    """By datagram in matching_mode 1; over HTTP it can."""
    proxy = start_kamailio(environment={"KAMAILIO_MATCHING_MODE": "1"})
    assert "matching_mode 1" in check(proxy.rpc_socket_url)["node_matching_mode"]["what"]
    assert "node_matching_mode" not in check(proxy.rpc_url)


def test_a_node_that_keeps_bindings_in_memory_alone_is_told(check: Check, start_kamailio: StartKamailio) -> None:
    """There is nothing to list."""
    found = check(start_kamailio(db_mode=0).rpc_url)["node_db_mode"]
    assert "in memory alone (db_mode 0)" in found["what"]


def test_each_node_is_told_from_what_it_should_be(check: Check, proxy: Proxy) -> None:
    """Away, with another number, in another mode than was set, or one that refuses every command."""
    fine = check(f"1={proxy.rpc_url}")
    assert not any(name.startswith(("node", "rpc")) for name in fine), fine
    away = check(f"1={proxy.rpc_url},2={NOWHERE}")
    assert "node 2" in away["node_unreachable"]["what"]
    swapped = check(f"2={proxy.rpc_url}")
    assert "has the server_id 1" in swapped["node_server_id"]["what"]
    mode = check(proxy.rpc_url, REGISTRATIONS_KAMAILIO_DB_MODE="2")
    assert "runs in db_mode 1, REGISTRATIONS_KAMAILIO_DB_MODE says 2" in mode["node_db_mode"]["what"]
    refusing = check(proxy.rpc_url.replace("/RPC", "/wrong"))
    assert "ul.rm (405 POST to /RPC)" in refusing["node_commands"]["what"]
    assert "does not tell its db_mode" in refusing["node_db_mode"]["what"]


def test_a_node_in_db_mode_2_is_noted(check: Check, start_kamailio: StartKamailio) -> None:
    """It is no fault, but its lists lag."""
    found = check(start_kamailio(db_mode=2).rpc_url)
    assert found["node_writes_late"]["severity"] == "note"


def test_a_node_that_writes_another_type_of_time_is_told(check: Check, start_kamailio: StartKamailio) -> None:
    """Every REGISTER there is a 500, which `kamailio -c` does not notice."""
    found = check(start_kamailio(expires_type=0).rpc_url)["node_expires_type"]
    assert "the column expires is bigint" in found["what"]
    assert "KAMAILIO_EXPIRES_TYPE=1" in found["remedy"]


def test_a_node_that_still_loads_is_told(check: Check, start_kamailio: StartKamailio) -> None:
    """Also where an event_route of the operator's forgot to say when it is done."""
    proxy = start_kamailio()
    with proxy.rpc(socket=True) as rpc:
        rpc.call("pv.shvSet", "registrations_loaded", "int", 0)
    assert "still loading" in check(proxy.rpc_url)["node_loading"]["what"]


def test_a_clock_that_goes_wrong_is_told_by_its_seconds(check: Check, start_kamailio: StartKamailio) -> None:
    """Whatever its zone: here one that lies ten seconds beside five hours and three quarters."""
    found = check(start_kamailio(timezone="XXX-05:45:10").rpc_url)
    assert re.search(r" (9|10|11|12) seconds ahead of ", found["node_clock"]["what"])
    assert "node_clock" not in check(start_kamailio(server_id=2, timezone="Asia/Kathmandu").rpc_url)


def test_a_zone_that_is_not_the_one_that_was_set_is_told(
    check: Check, start_kamailio: StartKamailio, kamdbctl_url: str
) -> None:
    """By the node's own clock and, when phones have registered, by the rows; only where columns have a zone at all."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    proxy = start_kamailio(database_url=kamdbctl_url, expires_type=0, timezone="Asia/Tokyo")
    found = check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL=kamdbctl_url)
    assert "9:00:00 ahead of UTC, which is not UTC" in found["node_zone"]["what"]
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        insert = "insert into location (ruid, username, last_modified) values ('r', 'bob', now() at time zone %s)"
        connection.execute(insert, ("Asia/Tokyo",))
        ahead = check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL=kamdbctl_url)["clock"]
        assert "9.0 hours in the future" in ahead["what"]
        assert "REGISTRATIONS_KAMAILIO_TIMEZONE" in ahead["remedy"]
        connection.execute("delete from location")
        connection.execute(insert, ("America/Lima",))  # no summer time there
        behind = check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL=kamdbctl_url)["clock"]
        assert "5.0 hours old when it was written: Kamailio does not run in UTC" in behind["what"]
    migrate(DatabaseSettings(database_url=kamdbctl_url, kamailio_timezone="Asia/Tokyo"))
    assert "node_zone" not in check(proxy.rpc_url, REGISTRATIONS_DATABASE_URL=kamdbctl_url)


@pytest.fixture
def address() -> str:
    """One by which others reach this machine."""
    if not own_addresses():
        pytest.skip("this machine has no address but loopback")
    return own_addresses()[0]


def test_json_rpc_that_others_reach_is_told(check: Check, start_kamailio: StartKamailio, address: str) -> None:
    """It listens on every address: a fault where it does what it is asked there, none where it refuses strangers."""
    everywhere = {"KAMAILIO_RPC_LISTEN": "0.0.0.0"}
    refusing = start_kamailio(environment=everywhere)
    assert "rpc_exposed" not in check(refusing.rpc_url)
    exposed = start_kamailio(server_id=2, environment={**everywhere, "KAMAILIO_RPC_CLIENTS": "0.0.0.0/0"})
    found = check(exposed.rpc_url)["rpc_exposed"]
    assert address in found["what"]
    noted = check(exposed.rpc_url.replace("127.0.0.1", address))
    assert noted["rpc_by_network"]["severity"] == "note"


def test_a_socket_that_does_everything_is_told_where_others_reach_it(
    check: Check, start_kamailio: StartKamailio, address: str
) -> None:
    """A datagram socket does every command, which is well on loopback and a fault elsewhere."""
    open_socket = start_kamailio(environment={"KAMAILIO_RPC_SOCKET": f"udp:{address}:{free_port(address)}"})
    assert check(open_socket.rpc_socket_url)["rpc_everything"]["severity"] == "fault"
    local = start_kamailio(server_id=2, environment={"KAMAILIO_RPC_SOCKET": f"udp:127.0.0.1:{free_port()}"})
    assert "rpc_everything" not in check(local.rpc_socket_url)


def test_a_route_that_lets_every_command_through_is_told(
    check: Check, start_kamailio: StartKamailio, tmp_path: Path
) -> None:
    """As the distribution's WITH_JSONRPC does: any user of the machine may stop Kamailio."""
    for name in ("kamailio.cfg", "registrations.cfg"):
        text = (CONFIGURATION.parent / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("ul[.](rm|rm_contact|lookup)", "[A-Za-z._]+"))
    found = check(start_kamailio(configuration=tmp_path / "kamailio.cfg").rpc_url)
    assert found["rpc_everything"]["severity"] == "warning"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open what others cannot")
@pytest.mark.parametrize("name", ["kamailio_rpc.sock", "kamailio_rpc.fifo"])
def test_a_socket_that_only_root_can_open_is_told(check: Check, start_kamailio: StartKamailio, name: str) -> None:
    """A Kamailio that is started as root makes it root's. Worker and API come in by the group kamailio."""
    proxy = start_kamailio()
    url, path = f"{name[-4:].replace('sock', 'unix')}:{proxy.runtime / name}", proxy.runtime / name
    proxy.runtime.chmod(0o755)
    found = check(url)["rpc_denied"]
    assert (found["severity"], str(path) in found["what"]) == ("fault", True)
    shutil.chown(path, group="kamailio")
    assert "rpc_denied" not in check(url)
    path.chmod(0o640)
    assert "rpc_denied" in check(url)
    path.chmod(0o660)
    proxy.runtime.chmod(0o700)
    assert "rpc_denied" in check(url)
    assert "rpc_denied" not in check(proxy.rpc_url)


def test_replies_that_every_user_may_write_are_told(
    check: Check, answering_there: Proxy, reply_directory: Path
) -> None:
    """By FIFO they lie in /tmp by default; in a directory of Kamailio's group nobody else can disturb them."""
    fifo = f"{answering_there.rpc_fifo_url}?reply_dir={reply_directory}"
    kamctl = f"{answering_there.rpc_kamctl_url}&reply_dir={reply_directory}"
    for url in (fifo, kamctl):
        found = check(url)["rpc_replies_open"]
        assert found["severity"] == "warning"
        assert str(reply_directory) in found["what"]
    reply_directory.chmod(0o770)
    for url in (fifo, kamctl):
        assert not {"rpc_replies_open", "node_unreachable"} & check(url).keys()


def test_a_version_that_was_never_tried_is_told() -> None:
    """A survey that is made up, since no such Kamailio can be had."""
    made_up = Survey(
        version="kamailio 5.5.4 (x86_64/linux)",
        refused={},
        wall_epoch=None,
        asked_at=0.0,
        loaded=True,
        db_mode=1,
        expires_type=1,
        server_id=1,
        server_id_filter=None,
        matching_mode=None,
        use_domain=True,
    )
    found = list(check_survey("it", made_up, node=0, settings=KamailioSettings(), facts=None))
    assert [each.id for each in found] == ["node_version"]
