"""A phone that names another host in its Path or Contact: no NOTIFY of ours goes there; those of known edges arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.stand.kamailio import Proxy, take_long_headers, with_line
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.sip import host_port

Sync = Callable[..., tuple[int, int]]


@pytest.fixture
def start_registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> StartKamailio:
    """Start a proxy whose phones are those of the directory."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    return lambda **options: start_kamailio(database_url=url, **options)


@pytest.fixture
def registrar(start_registrar: StartKamailio) -> Proxy:
    """One on kamailio.cfg."""
    return start_registrar()


@pytest.fixture
def agents() -> Iterator[ExitStack]:
    """Closes the phones that enter it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sync(start_api: StartApi, directory: Directory) -> Sync:
    """Ask for bob's device; returns how many phones were told, and how many were not."""

    def ask(registrar: Proxy, **settings: Any) -> tuple[int, int]:
        response = start_api(kamailio_rpc=registrar.rpc_url, **settings).post(
            "/v2/accounts/child/devices/device-bob/sync", headers={"X-Auth-Token": directory.tokens["child"]}
        )
        assert response.status_code == 202
        envelope = response.get_json()
        return envelope["sent"], envelope["failed"]

    return ask


def _other(agents: ExitStack, registrar: Proxy) -> Phone:
    """Somebody who listens: an edge proxy, or a victim."""
    return agents.enter_context(Phone("other", "child.test", "", proxy=registrar.sip))


def _bob(agents: ExitStack, registrar: Proxy, **options: Any) -> Phone:
    return agents.enter_context(Phone("bob", "child.test", "secret", proxy=registrar.sip, **options))


def _causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["cause"] for record in caplog.records if record.name == "api.check_sync"]


PATHS = {
    "alone": "<sip:{victim};lr>",
    "behind one's own": "<sip:{own};lr>,<sip:{victim};lr>",
    "another port of one's own host": "<sip:{host}:9;lr>",
    "another transport": "<sip:{own};transport=tcp;lr>",
    "in a display name": '"<sip:{own};lr>" <sip:{victim};lr>',
    "as the source": "<sip:{victim};lr;received=sip:{victim}>",
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
    """Nobody is sent anything, and the log names the setting; also where registrar takes `received` from the Path."""
    line = f'modparam("registrar", "path_use_received", {use_received})'
    registrar = start_registrar(configuration=with_line(tmp_path, line))
    victim, bob = _other(agents, registrar), _bob(agents, registrar)
    own = host_port(*bob.local)
    bob.extra_headers = [("Path", path.format(victim=host_port(*victim.local), own=own, host=bob.local[0]))]
    assert bob.register().ok
    assert sync(registrar) == (0, 1)
    assert (victim.received, bob.received) == ([], [])
    assert all("path leads to" in cause and "REGISTRATIONS_KAMAILIO_EDGES" in cause for cause in _causes(caplog))
    assert len(_causes(caplog)) == 1


LONG = "y" * 3000
# The Contact, more header fields, and whether usrloc takes what they name for the source; None: not each release does.
CONTACTS: dict[str, tuple[str, list[tuple[str, str]], bool | None]] = {
    "plain": ("<sip:bob@192.0.2.99>;received=sip:{victim}", [], True),
    "quoted": ('<sip:bob@192.0.2.99>;received="sip:{victim}"', [], True),
    "in capitals, folded": ("<sip:bob@192.0.2.99>;q=1; \r\n RECEIVED \r\n = sip:{victim}", [], True),
    "without brackets": ("<sip:bob@192.0.2.98>,sip:bob@192.0.2.99;received=sip:{victim}", [], None),
    "the second": ("<sip:bob@192.0.2.98>,sip:bob@192.0.2.99;received=sip:{victim}", [], None),
    "in another field": (
        "<sip:bob@192.0.2.98>;received=sip:{victim}",
        [("Contact", f"<sip:bob@192.0.2.{n}>;x={LONG}") for n in range(6)],
        True,
    ),
    "in the compact form": ("<sip:bob@192.0.2.98>", [("m", "<sip:bob@192.0.2.99>;received=sip:{victim}")], False),
}


@pytest.mark.parametrize(("contact", "more", "stored"), CONTACTS.values(), ids=CONTACTS.keys())
def test_a_contact_that_names_its_source_is_not_believed(
    registrar: Proxy,
    agents: ExitStack,
    sync: Sync,
    database: psycopg.Connection,
    contact: str,
    more: list[tuple[str, str]],
    stored: bool | None,
) -> None:
    """The phone is registered as it was before, and has no NOTIFY."""
    victim = _other(agents, registrar)
    address = host_port(*victim.local)
    headers = [(name, value.format(victim=address)) for name, value in more]
    bob = _bob(agents, registrar, contact=contact.format(victim=address), extra_headers=headers)
    assert bob.register().ok
    received = [row[0] for row in database.execute("select received from location")]
    assert stored is None or (f"sip:{address}" in received) is stored
    assert sync(registrar) == (0, len(received))
    assert (victim.received, bob.received) == ([], [])
    assert sync(registrar, kamailio_edges="*") == (len(received), 0)


def test_more_than_kamailio_can_look_at_is_not_believed(
    start_registrar: StartKamailio, agents: ExitStack, sync: Sync, tmp_path: Path
) -> None:
    """Also where the operator has pv_buffer_size so large that the headers as they are can be had, but not escaped."""
    registrar = start_registrar(configuration=with_line(tmp_path, take_long_headers()))
    victim = _other(agents, registrar)
    contact = f"<sip:bob@192.0.2.99>;x={LONG * 11};received=sip:{host_port(*victim.local)}"
    assert _bob(agents, registrar, contact=contact).register().ok
    assert sync(registrar) == (0, 1)
    assert victim.received == []


def test_a_contact_that_names_no_source_but_says_so_leads_nowhere(
    registrar: Proxy, agents: ExitStack, sync: Sync
) -> None:
    """An empty parameter has Kamailio store no source: what is left is the phone's word."""
    victim = _other(agents, registrar)
    bob = _bob(agents, registrar, contact=f"<sip:{host_port(*victim.local)}>;received")
    assert bob.register().ok
    assert sync(registrar) == (0, 1)
    assert victim.received == []


def test_after_a_refresh_that_names_nothing_it_is_believed_again(
    registrar: Proxy, agents: ExitStack, sync: Sync
) -> None:
    """The flag is of the last REGISTER."""
    bob = _bob(agents, registrar, contact="<sip:bob@192.0.2.99>;received=sip:192.0.2.1")
    assert bob.register().ok
    assert sync(registrar) == (0, 1)
    bob._contact = "<sip:bob@192.0.2.99>"
    assert bob.register().ok
    assert sync(registrar) == (1, 0)
    bob.wait_for_request("NOTIFY")


@pytest.mark.parametrize("path", ["<sip:edge@{own};lr>", "<sip:{own};lr;received=sip:192.0.2.7:5062>"])
def test_an_edge_by_udp_is_known_by_its_source(registrar: Proxy, agents: ExitStack, sync: Sync, path: str) -> None:
    """It names itself in the Path, as module path does by add_path() and add_path_received(): nothing is to be set."""
    edge = _bob(agents, registrar, contact="sip:bob@10.9.9.9:5060")
    route = path.format(own=host_port(*edge.local))
    edge.extra_headers = [("Path", route)]
    assert edge.register().ok
    assert sync(registrar) == (1, 0)
    request = edge.wait_for_request("NOTIFY")
    assert (request.uri, request.headers["Route"]) == ("sip:bob@10.9.9.9:5060", route)


@pytest.mark.parametrize("edges", ["127.0.0.1", "192.0.2.1,127.0.0.0/8", "*"])
def test_other_edges_are_known_by_the_setting(registrar: Proxy, agents: ExitStack, sync: Sync, edges: str) -> None:
    """Such as those by TCP, whose source is another port than that which they listen on."""
    edge = _other(agents, registrar)
    bob = _bob(agents, registrar, extra_headers={"Path": f"<sip:{host_port(*edge.local)};lr>"})
    assert bob.register().ok
    assert sync(registrar, kamailio_edges=edges) == (1, 0)
    edge.wait_for_request("NOTIFY")


def test_a_row_without_a_source_leads_to_known_hosts_only(
    registrar: Proxy, agents: ExitStack, sync: Sync, database: psycopg.Connection
) -> None:
    """As of before registrations.cfg was loaded: its Contact is the phone's own word."""
    bob = _bob(agents, registrar)
    assert bob.register().ok
    database.execute("update location set received = null")
    assert sync(registrar) == (0, 1)
    assert bob.received == []
    assert sync(registrar, kamailio_edges="127.0.0.1") == (1, 0)
    bob.wait_for_request("NOTIFY")
