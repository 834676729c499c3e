"""Our NOTIFY goes to the phone, through known edge proxies, but never to a stranger that a Path or Contact names."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import FetchSources, StartJobs
from tests.stand.kamailio import CONFIGURATION, Proxy, take_long_headers, with_line
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until
from tests.stand.sip import host_port

Sync = Callable[..., tuple[int, int]]
STRANGER = "127.0.0.7"  # an address that no phone registers from


class Listener(socket.socket):
    """A UDP socket that may receive a request."""

    def __init__(self, host: str = STRANGER) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind((host, 0))
        self.setblocking(False)
        self._calls: set[bytes] = set()

    @property
    def address(self) -> str:
        """Host and port."""
        return host_port(*self.getsockname())

    def heard(self) -> int:
        """Return the number of NOTIFYs, without retransmissions."""
        while True:
            try:
                request = self.recv(65536)
            except BlockingIOError:
                return len(self._calls)
            assert request.startswith(b"NOTIFY ")
            self._calls.update(re.findall(rb"\r\nCall-ID: ([^\r]+)", request))


@pytest.fixture
def start_registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> StartKamailio:
    """Start a proxy whose phones are those of the directory."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    return lambda **options: start_kamailio(database_url=url, **options)


@pytest.fixture
def registrar(start_registrar: StartKamailio) -> Proxy:
    """A proxy on kamailio.cfg."""
    return start_registrar()


@pytest.fixture
def plain_registrar(start_registrar: StartKamailio, tmp_path: Path) -> Proxy:
    """A proxy that leaves `received` empty, as the stock file does without WITH_NAT."""
    return start_registrar(configuration=without_received(tmp_path))


def without_received(directory: Path) -> Path:
    """Write such a kamailio.cfg and return its path."""
    shutil.copy(CONFIGURATION.with_name("registrations.cfg"), directory)
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert "$avp(RECEIVED) = $su;" in text
    configuration = directory / CONFIGURATION.name
    configuration.write_text(text.replace("$avp(RECEIVED) = $su;", ""), encoding="utf-8")
    return configuration


@pytest.fixture
def agents() -> Iterator[ExitStack]:
    """Closes all phones and listeners at the end of the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sync(start_api: StartApi, directory: Directory, fetch_sources: FetchSources) -> Sync:
    """Sync bob's device; return how many phones were sent a NOTIFY, and how many were not.

    First the worker fetches the new sources.
    """

    def ask(registrar: Proxy, *, new: int = 0, **settings: Any) -> tuple[int, int]:
        if new:
            fetch_sources(registrar.rpc_url, rows=new)
        response = start_api(kamailio_rpc=registrar.rpc_url, **settings).post(
            "/v2/accounts/child/devices/device-bob/sync", headers={"X-Auth-Token": directory.tokens["child"]}
        )
        assert response.status_code == 202
        envelope = response.get_json()
        return envelope["sent"], envelope["failed"]

    return ask


def _listener(agents: ExitStack, host: str = STRANGER) -> Listener:
    return agents.enter_context(Listener(host))


def _bob(agents: ExitStack, registrar: Proxy, **options: Any) -> Phone:
    return agents.enter_context(Phone("bob", "child.test", "secret", proxy=registrar.sip, **options))


def _causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["cause"] for record in caplog.records if record.name == "api.actions.check_sync"]


def _hears(listener: Listener) -> None:
    """Check that it receives one NOTIFY, the first one."""
    wait_until(lambda: listener.heard() > 0, 5, "the NOTIFY")
    assert listener.heard() == 1


# --- phones


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_that_listens_elsewhere_has_it_there(
    plain_registrar: Proxy, agents: ExitStack, sync: Sync, transport: Literal["udp", "tcp"]
) -> None:
    """A NOTIFY goes to another port of the same host, as calls do."""
    there = _listener(agents, "127.0.0.1")
    bob = _bob(agents, plain_registrar, contact=f"sip:bob@{there.address}", transport=transport)
    assert bob.register().ok
    assert sync(plain_registrar, new=1) == (1, 0)
    _hears(there)
    assert bob.received == []


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_a_phone_behind_nat_has_it_where_it_registered_from(
    plain_registrar: Proxy,
    agents: ExitStack,
    sync: Sync,
    database: psycopg.Connection,
    transport: Literal["udp", "tcp", "ws"],
) -> None:
    """It works without NAT handling, where calls do not arrive. What usrloc stores does not change."""
    bob = _bob(agents, plain_registrar, contact="sip:bob@192.0.2.99:5062", transport=transport)
    assert bob.register().ok
    assert sync(plain_registrar, new=1) == (1, 0)
    assert bob.wait_for_request("NOTIFY").uri == "sip:bob@192.0.2.99:5062"
    assert database.execute("select received from location").fetchone() == (None,)


def test_a_contact_on_another_host_is_not_followed(plain_registrar: Proxy, agents: ExitStack, sync: Sync) -> None:
    """The phone gets the NOTIFY, not the host that it names, unless the operator has configured that host."""
    stranger = _listener(agents)
    bob = _bob(agents, plain_registrar, contact=f"sip:bob@{stranger.address}")
    assert bob.register().ok
    assert sync(plain_registrar, new=1) == (1, 0)
    bob.wait_for_request("NOTIFY")
    assert sync(plain_registrar, kamailio_edges=STRANGER) == (1, 0)
    _hears(stranger)
    assert len(bob.received) == 1


# --- strangers

PATHS = {
    "alone": "<sip:{stranger};lr>",
    "behind one's own": "<sip:{own};lr>,<sip:{stranger};lr>",
    "in a display name": '"<sip:{own};lr>" <sip:{stranger};lr>',
    "as the source": "<sip:{stranger};lr;received=sip:{stranger}>",
}


@pytest.mark.parametrize("use_received", [0, 1])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_a_path_of_a_phones_own_is_not_followed(
    start_registrar: StartKamailio,
    agents: ExitStack,
    sync: Sync,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    path: str,
    use_received: int,
) -> None:
    """No NOTIFY is sent, and the log names the setting. This also holds if registrar takes `received` from the Path."""
    line = f'modparam("registrar", "path_use_received", {use_received})'
    registrar = start_registrar(configuration=with_line(tmp_path, line))
    stranger, bob = _listener(agents), _bob(agents, registrar)
    path = path.format(stranger=stranger.address, own=host_port(*bob.local))
    bob.extra_headers = [("Path", path)]
    assert bob.register().ok
    assert sync(registrar, new=1) == (0, 1)
    assert all("path leads to" in cause and "REGISTRATIONS_KAMAILIO_EDGES" in cause for cause in _causes(caplog))
    assert len(_causes(caplog)) == 1
    bob.extra_headers = [("Path", f"<sip:{stranger.address};lr>")]
    assert bob.register().ok
    assert sync(registrar, kamailio_edges=STRANGER) == (1, 0)
    _hears(stranger)
    assert bob.received == []


LONG = "y" * 3000
# Contact, further header fields, and whether usrloc takes their address for the source; None: depends on the release.
CONTACTS: dict[str, tuple[str, list[tuple[str, str]], bool | None]] = {
    "plain": ("<sip:bob@192.0.2.99>;received=sip:{stranger}", [], True),
    "of one's own address": ("<sip:bob@{own}>;received=sip:{stranger}", [], True),
    "quoted": ('<sip:bob@192.0.2.99>;received="sip:{stranger}"', [], True),
    "in capitals, folded": ("<sip:bob@192.0.2.99>;q=1; \r\n RECEIVED \r\n = sip:{stranger}", [], True),
    "behind a NUL": ('<sip:bob@{own}>;x="\0";received=sip:{stranger}', [], None),
    "without brackets": ("<sip:bob@192.0.2.98>,sip:bob@192.0.2.99;received=sip:{stranger}", [], None),
    "in another field": (
        "<sip:bob@192.0.2.98>;received=sip:{stranger}",
        [("Contact", f"<sip:bob@192.0.2.{n}>;x={LONG}") for n in range(6)],
        True,
    ),
    "in the compact form": ("<sip:bob@192.0.2.98>", [("m", "<sip:bob@192.0.2.99>;received=sip:{stranger}")], None),
}


@pytest.mark.parametrize("nat", [True, False])
@pytest.mark.parametrize(("contact", "more", "stored"), CONTACTS.values(), ids=CONTACTS.keys())
def test_a_source_that_a_contact_names_is_not_believed(
    request: pytest.FixtureRequest,
    agents: ExitStack,
    sync: Sync,
    start_jobs: StartJobs,
    database: psycopg.Connection,
    contact: str,
    more: list[tuple[str, str]],
    stored: bool | None,
    nat: bool,
) -> None:
    """Calls go there, as before. A NOTIFY goes to the other bindings, but not to an address that the phone names."""
    registrar: Proxy = request.getfixturevalue("registrar" if nat else "plain_registrar")
    stranger, bob = _listener(agents), _bob(agents, registrar)
    names = {"stranger": stranger.address, "own": host_port(*bob.local)}
    bob._contact = contact.format(**names)
    bob.extra_headers = [(name, value.format(**names)) for name, value in more]
    registered = bob.register()
    assert stored is None or registered.ok
    received = [row[0] for row in database.execute("select received from location")]
    astray = received.count(f"sip:{stranger.address}")
    assert stored is None or (astray > 0) is stored
    jobs = start_jobs(kamailio_rpc=registrar.rpc_url)
    wait_until(lambda: jobs.fetch(0) and _sources(database) == len(received), 10, "the sources")
    assert sync(registrar) == (len(received) - astray, astray)
    if astray:
        assert sync(registrar, kamailio_edges=STRANGER) == (len(received), 0)
        wait_until(lambda: stranger.heard() > 0, 5, "the NOTIFY")
    assert stranger.heard() == astray


def _sources(database: psycopg.Connection) -> int:
    (count,) = database.execute("select count(*) from registration_source").fetchone() or (0,)
    return int(count)


def test_more_than_kamailio_can_look_at_is_not_believed(
    start_registrar: StartKamailio, agents: ExitStack, sync: Sync, tmp_path: Path
) -> None:
    """A header of any length is not believed if Kamailio cannot examine it."""
    registrar = start_registrar(configuration=with_line(tmp_path, take_long_headers()))
    stranger = _listener(agents)
    contact = f"<sip:bob@192.0.2.99>;x={LONG * 11};received=sip:{stranger.address}"
    assert _bob(agents, registrar, contact=contact).register().ok
    assert sync(registrar) == (0, 1)
    assert sync(registrar, kamailio_edges=STRANGER) == (1, 0)
    _hears(stranger)


# --- phones that the worker does not know


def test_without_the_worker_nothing_is_sent(registrar: Proxy, agents: ExitStack, sync: Sync) -> None:
    """Until the worker has fetched Kamailio's announcement, no phone gets a NOTIFY, honest or not."""
    stranger = _listener(agents)
    assert _bob(agents, registrar).register().ok
    assert _bob(agents, registrar, contact=f"<sip:bob@192.0.2.9>;received=sip:{stranger.address}").register().ok
    assert sync(registrar) == (0, 2)
    assert sync(registrar, new=2) == (1, 1)
    assert stranger.heard() == 0


def test_what_a_full_queue_dropped_makes_no_stranger_known(
    start_registrar: StartKamailio, agents: ExitStack, sync: Sync, tmp_path: Path, database: psycopg.Connection
) -> None:
    """Phones whose announcement was dropped get no NOTIFY until they are announced again."""
    configuration = without_received(tmp_path)
    include = tmp_path / "registrations.cfg"
    include.write_text(include.read_text(encoding="utf-8").replace("size=8192", "size=1"), encoding="utf-8")
    registrar = start_registrar(configuration=configuration)
    stranger = _listener(agents)
    contacts = [f"<sip:bob@192.0.2.9>;received=sip:{stranger.address}", f"sip:bob@{stranger.address}", None]
    for contact in contacts:
        assert _bob(agents, registrar, contact=contact).register().ok
    assert sync(registrar, new=1) == (1, 2)
    assert stranger.heard() == 0


def test_a_row_of_before_is_known_after_its_next_refresh(
    registrar: Proxy, agents: ExitStack, sync: Sync, database: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows from before adoption have no source. Until their next refresh only known edges get a NOTIFY."""
    bob = _bob(agents, registrar)
    assert bob.register().ok
    assert sync(registrar, new=1) == (1, 0)
    database.execute("delete from registration_source")
    assert sync(registrar) == (0, 1)
    assert all("received leads to" in cause for cause in _causes(caplog))
    assert sync(registrar, kamailio_edges="127.0.0.1") == (1, 0)
    registrar.restart()
    assert bob.register().ok
    assert sync(registrar, new=1) == (1, 0)
    wait_until(lambda: len(bob.received) == 3, 5, "three NOTIFYs")


# --- edges


@pytest.mark.parametrize("path", ["<sip:edge@{own};lr>", "<sip:{own};lr;received=sip:192.0.2.7:5062>"])
def test_an_edge_is_known_by_its_source(registrar: Proxy, agents: ExitStack, sync: Sync, path: str) -> None:
    """An edge that names itself in the Path with add_path() or add_path_received() needs no setting."""
    edge = _bob(agents, registrar, contact="sip:bob@10.9.9.9:5060")
    route = path.format(own=host_port(*edge.local))
    edge.extra_headers = [("Path", route)]
    assert edge.register().ok
    assert sync(registrar, new=1) == (1, 0)
    request = edge.wait_for_request("NOTIFY")
    assert (request.uri, request.headers["Route"]) == ("sip:bob@10.9.9.9:5060", route)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_edge_that_listens_on_another_port_is_known_too(
    registrar: Proxy, agents: ExitStack, sync: Sync, transport: Literal["udp", "tcp"]
) -> None:
    """An example is an edge on TCP, whose connections come from any port."""
    edge = _listener(agents, "127.0.0.1")
    route = f"<sip:{edge.address};lr>"
    bob = _bob(agents, registrar, transport=transport, contact="sip:bob@10.9.9.9", extra_headers={"Path": route})
    assert bob.register().ok
    assert sync(registrar, new=1) == (1, 0)
    _hears(edge)


@pytest.mark.parametrize("edges", [STRANGER, "192.0.2.1,127.0.0.0/24", "*"])
def test_other_edges_are_known_by_the_setting(registrar: Proxy, agents: ExitStack, sync: Sync, edges: str) -> None:
    """An example is an edge that sends from another address than it listens on."""
    edge = _listener(agents)
    bob = _bob(agents, registrar, extra_headers={"Path": f"<sip:{edge.address};lr>"})
    assert bob.register().ok
    assert sync(registrar, new=1, kamailio_edges=edges) == (1, 0)
    _hears(edge)
