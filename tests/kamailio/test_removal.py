"""Removal from a node's memory: whole AoRs, or only unchanged bindings, over every transport and in every db_mode."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kamailio import usrloc
from kamailio.bindings import Outcome
from kamailio.errors import KamailioUnreachable, NotCarried, RpcError, RpcProtocolError
from kamailio.nodes import Nodes
from kamailio.removal import remove, remove_unchanged
from kamailio.rpc import JsonRpcClient
from kamailio.settings import KamailioSettings
from kamailio.survey import ask_mode
from kamailio.transports.by_url import transport_for
from tests.fixtures.http import NOWHERE
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.kamailio import CONFIGURATION, Proxy, kamailio_is_at_least, without_authentication
from tests.stand.phone import Phone
from tests.stand.stock import stock_proxy

ALICE = "alice@example.com"


@dataclass(frozen=True)
class Doomed:
    """A binding as a flush stores it."""

    username: str
    domain: str | None
    ruid: str | None
    modified_epoch: int
    cseq: int
    call_id: str | None = None
    newcomers: tuple[str, ...] = ()


@pytest.fixture
def client(rpc_url: str) -> Iterator[JsonRpcClient]:
    """A client for each transport."""
    with JsonRpcClient(transport_for(rpc_url), timeout=5) as client:
        yield client


@pytest.fixture
def phone(reached: Proxy, add_device: AddDevice) -> Iterator[Phone]:
    """A registered phone of alice."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=reached.sip) as phone:
        assert phone.register().ok
        yield phone


def _as_it_is(client: JsonRpcClient, name: str = ALICE) -> Doomed:
    (contact,) = usrloc.lookup(client, name)
    username, _, domain = name.partition("@")
    return Doomed(username, domain, contact.ruid, contact.last_modified, contact.cseq, contact.call_id)


def _remove_unchanged(client: JsonRpcClient, doomed: Doomed) -> object:
    (outcome,) = remove_unchanged(client, [doomed], budget=10)
    return outcome


def test_an_old_binding_is_removed_and_a_newer_one_is_not(client: JsonRpcClient, phone: Phone) -> None:
    """Second, CSeq and Call-ID of the last REGISTER decide. A missing AoR or ruid is gone."""
    seen = _as_it_is(client)
    assert _remove_unchanged(client, replace(seen, modified_epoch=seen.modified_epoch - 1)) is Outcome.NEWER
    assert _remove_unchanged(client, replace(seen, cseq=seen.cseq - 1)) is Outcome.NEWER
    assert _remove_unchanged(client, replace(seen, call_id="another")) is Outcome.NEWER
    assert _remove_unchanged(client, replace(seen, ruid="uloc-another")) is Outcome.GONE
    assert _remove_unchanged(client, replace(seen, username="nobody")) is Outcome.GONE
    assert len(usrloc.lookup(client, ALICE)) == 1
    assert _remove_unchanged(client, seen) is Outcome.GONE
    assert usrloc.lookup(client, ALICE) == ()
    assert phone.register().ok
    assert _remove_unchanged(client, seen) is Outcome.GONE
    assert len(usrloc.lookup(client, ALICE)) == 1, "the new one has another ruid"
    of_before = replace(_as_it_is(client), call_id=None)
    assert _remove_unchanged(client, replace(of_before, cseq=0)) is Outcome.NEWER
    assert _remove_unchanged(client, of_before) is Outcome.GONE
    assert usrloc.lookup(client, ALICE) == ()


def test_all_before_a_second_is_old_where_the_row_may_lag(client: JsonRpcClient, phone: Phone) -> None:
    """As in db_mode 2, or for an AoR without a known row: a REGISTER of that very second may be newer."""
    seen = _as_it_is(client)
    of_that_second = replace(seen, cseq=-1)
    assert _remove_unchanged(client, of_that_second) is Outcome.NEWER
    assert _remove_unchanged(client, replace(of_that_second, ruid=None)) is Outcome.GONE
    assert len(usrloc.lookup(client, ALICE)) == 1
    later = replace(of_that_second, modified_epoch=seen.modified_epoch + 1)
    assert _remove_unchanged(client, later) is Outcome.GONE
    assert usrloc.lookup(client, ALICE) == ()
    assert phone.register().ok
    assert _remove_unchanged(client, replace(later, ruid=None, modified_epoch=int(time.time()) + 2)) is Outcome.GONE
    assert usrloc.lookup(client, ALICE) == ()


def test_an_aor_with_very_many_phones_holds_up_no_other(
    start_kamailio: StartKamailio, database: psycopg.Connection
) -> None:
    """Its answer does not fit into a datagram. Only this AoR stays, with the reason."""
    database.execute(
        "insert into location (ruid, username, domain, contact, expires, last_modified, cseq, server_id, user_agent) "
        "select 'uloc-' || n, case when n <= 150 then 'bob' else 'u' || n end, 'example.com', "
        "'sip:' || n || '@192.0.2.1', extract(epoch from now()) + 600, 1000, 1, 1, repeat('x', 200) "
        "from generate_series(1, 170) n"
    )
    proxy = start_kamailio()
    doomed = [Doomed("bob", "example.com", "uloc-1", 1000, 1)]
    doomed += [Doomed(f"u{n}", "example.com", f"uloc-{n}", 1000, 1) for n in range(151, 171)]
    with proxy.rpc(socket=True) as client:
        unreadable, *others = remove_unchanged(client, doomed, budget=10)
        assert isinstance(unreadable, RpcProtocolError)
        assert others == [Outcome.GONE] * 20
        assert usrloc.lookup(client, "u151@example.com") == ()


def _bindings_of_bob(database: psycopg.Connection, count: int) -> None:
    database.execute(
        "insert into location (ruid, username, domain, contact, expires, last_modified, cseq, server_id) "
        "select 'uloc-' || n, 'bob', 'example.com', 'sip:' || n || '@192.0.2.1', extract(epoch from now()) + 600, "
        "1000, 1, 1 from generate_series(1, %s) n",
        (count,),
    )


@pytest.mark.parametrize("count", [150, 1000])
def test_of_very_many_phones_of_an_aor_the_last_one_is_found(
    start_kamailio: StartKamailio, database: psycopg.Connection, count: int
) -> None:
    """Kamailio ends a loop after 100 rounds. A later binding is neither taken for gone nor removed if it is newer."""
    _bindings_of_bob(database, count)
    with start_kamailio().rpc() as client:
        first, *_, last = usrloc.lookup(client, "bob@example.com")
        for contact in (first, last):
            seen = Doomed("bob", "example.com", contact.ruid, 1000, 1)
            assert _remove_unchanged(client, replace(seen, cseq=0)) is Outcome.NEWER
            assert _remove_unchanged(client, seen) is Outcome.GONE
        assert _remove_unchanged(client, Doomed("bob", "example.com", "uloc-another", 1000, 1)) is Outcome.GONE
        assert len(usrloc.lookup(client, "bob@example.com")) == count - 2


@pytest.mark.parametrize(
    ("count", "loops", "lost"),
    [(2001, 100, True), (101, 10, True), (100, 10, False), (1, 1, False), (2, 1, True), (15_000, 100, True)],
    ids=["more", "more than the operator allows", "as many", "one", "two", "more than fit in memory"],
)
def test_what_was_not_looked_at_is_not_gone(
    start_kamailio: StartKamailio, database: psycopg.Connection, tmp_path: Path, count: int, loops: int, lost: bool
) -> None:
    """With more contacts than a node looks at, it answers 503 and the binding stays open."""
    _bindings_of_bob(database, count)
    text = CONFIGURATION.read_text(encoding="utf-8").replace("debug=2", f"debug=2\nmax_while_loops={loops}")
    (tmp_path / "kamailio.cfg").write_text(text, encoding="utf-8")
    shutil.copy(CONFIGURATION.with_name("registrations.cfg"), tmp_path)
    with start_kamailio(configuration=tmp_path / "kamailio.cfg").rpc() as client:
        outcome = _remove_unchanged(client, Doomed("bob", "example.com", "uloc-another", 1000, 1))
    assert str(outcome) == ("registrations.rm: 503 Too Many Contacts" if lost else "Outcome.GONE")


def test_who_freezes_between_look_and_removal_removes_nothing_when_he_wakes(
    proxy: Proxy, add_device: AddDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Kamailio does not compare itself, the binding may have registered again since the lookup."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc(socket=True) as client:
        assert phone.register().ok
        seen, budget, look = _as_it_is(client), 0.5, usrloc.lookup_many

        def look_and_freeze(*arguments: Any, **options: Any) -> Any:
            found = look(*arguments, **options)
            assert phone.register().ok
            time.sleep(budget)
            return found

        monkeypatch.setattr("kamailio.bindings.lookup_many", look_and_freeze)
        (outcome,) = remove_unchanged(client, [seen], budget=budget)
        assert isinstance(outcome, KamailioUnreachable)
        assert len(usrloc.lookup(client, ALICE)) == 1


def test_the_other_phones_of_an_aor_stay(client: JsonRpcClient, phone: Phone, reached: Proxy) -> None:
    """A retry concerns one binding."""
    seen = _as_it_is(client)
    with Phone("alice", "example.com", "secret", proxy=reached.sip) as other:
        assert other.register().ok
        assert _remove_unchanged(client, seen) is Outcome.GONE
        assert [contact.call_id for contact in usrloc.lookup(client, ALICE)] == [other.call_id]


def test_at_once_the_whole_aor_goes(client: JsonRpcClient, phone: Phone, reached: Proxy) -> None:
    """All its phones, newer ones too. An AoR that is named twice or unknown is gone as well."""
    seen = _as_it_is(client)
    with Phone("alice", "example.com", "secret", proxy=reached.sip) as other:
        assert other.register().ok
        doomed = [seen, replace(seen, username="nobody"), seen]
        assert remove(client, doomed, budget=10) == [Outcome.GONE] * 3
        assert usrloc.lookup(client, ALICE) == ()


@pytest.mark.parametrize("mode", [2, 3])
def test_it_is_the_same_in_the_other_modes(start_kamailio: StartKamailio, add_device: AddDevice, mode: int) -> None:
    """In mode 2, which writes rows late, and in mode 3, which has only rows."""
    proxy = start_kamailio(db_mode=mode, timer_interval=30)
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc() as client:
        assert phone.register().ok
        seen = _as_it_is(client)
        assert _remove_unchanged(client, replace(seen, cseq=seen.cseq - 1)) is Outcome.NEWER
        assert _remove_unchanged(client, seen) is Outcome.GONE
        assert usrloc.lookup(client, ALICE) == ()


def test_without_a_domain_the_user_part_is_the_aor(start_kamailio: StartKamailio, add_device: AddDevice) -> None:
    """usrloc with use_domain=0."""
    proxy = start_kamailio(environment={"KAMAILIO_USE_DOMAIN": "0"})
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc() as client:
        assert phone.register().ok
        seen = replace(_as_it_is(client, "alice"), domain=None)
        assert _remove_unchanged(client, replace(seen, cseq=0)) is Outcome.NEWER
        assert _remove_unchanged(client, seen) is Outcome.GONE
        assert usrloc.lookup(client, "alice") == ()


@pytest.mark.parametrize("username", ["a b", "a%b", "a|b", "quo'te", "+49!30;x=1", "'$(rb)", "a?b&c"])
def test_odd_usernames_are_compared_byte_for_byte(proxy: Proxy, add_device: AddDevice, username: str) -> None:
    """No character of a name changes the command."""
    add_device(username)
    with Phone(username, "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc() as client:
        assert phone.register().ok
        (contact,) = usrloc.lookup(client, f"{username}@example.com")
        seen = Doomed(username, "example.com", contact.ruid, contact.last_modified, contact.cseq, contact.call_id)
        assert _remove_unchanged(client, replace(seen, cseq=0)) is Outcome.NEWER
        assert _remove_unchanged(client, seen) is Outcome.GONE
        assert usrloc.lookup(client, f"{username}@example.com") == ()


@pytest.fixture
def two_of_one_start(start_kamailio: StartKamailio, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """anna and anna@corp.example, both registered. The parameter is use_domain."""
    environment = {"KAMAILIO_USE_DOMAIN": str(request.param)}
    proxy = start_kamailio(configuration=without_authentication(tmp_path), environment=environment)
    with (
        Phone("anna", "example.com", "", proxy=proxy.sip) as anna,
        Phone("anna@corp.example", "example.com", "", proxy=proxy.sip) as other,
    ):
        assert anna.register().ok
        assert other.register().ok
        yield proxy


def _held(database: psycopg.Connection) -> list[tuple[str, str | None]]:
    return database.execute("select username, domain from location order by 1, 2").fetchall()


@pytest.mark.parametrize("two_of_one_start", [1], indirect=True)
@pytest.mark.parametrize("socket", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_an_aor_with_two_ats_is_that_one(
    two_of_one_start: Proxy, database: psycopg.Connection, socket: bool, whole: bool
) -> None:
    """usrloc's commands, and unregister(), take the whole name, although the columns split it at the first "@"."""
    with two_of_one_start.rpc(socket=socket) as client:
        (contact,) = usrloc.lookup(client, "anna@corp.example@example.com")
        moment = (contact.last_modified, contact.cseq, contact.call_id)
        seen = Doomed("anna@corp.example", "example.com", contact.ruid, *moment)
        assert _remove_unchanged(client, replace(seen, cseq=0)) is Outcome.NEWER
        (outcome,) = remove(client, [seen], budget=10) if whole else (_remove_unchanged(client, seen),)
        assert outcome is Outcome.GONE
        assert usrloc.lookup(client, "anna@corp.example@example.com") == ()
    assert _held(database) == [("anna", "example.com")]


@pytest.mark.parametrize("two_of_one_start", [0], indirect=True)
@pytest.mark.parametrize("domain", [None, "example.com"])
def test_an_aor_that_usrloc_would_cut_is_not_taken_for_another(
    two_of_one_start: Proxy, database: psycopg.Connection, domain: str | None
) -> None:
    """Under use_domain=0 ul.rm would remove anna. registrations.rm removes the right binding; without it we refuse."""
    both = _held(database)
    assert both == [("anna", None), ("anna@corp.example", None)]
    row = database.execute("select ruid, last_modified, cseq, callid from location where username <> 'anna'").fetchone()
    assert row is not None
    seen = Doomed("anna@corp.example", domain, *row)
    with two_of_one_start.rpc() as client, two_of_one_start.rpc(socket=True) as by_datagram:
        for doomed, way in (
            (seen, by_datagram),
            (replace(seen, ruid=None), by_datagram),
            (replace(seen, ruid=None), client),
        ):
            for (outcome,) in (remove(way, [doomed], budget=10), remove_unchanged(way, [doomed], budget=10)):
                assert isinstance(outcome, NotCarried)
        assert _remove_unchanged(client, replace(seen, cseq=0)) is Outcome.NEWER
        assert _held(database) == both
        anna = Doomed("anna", None, "any", 0, 0)
        assert remove(client, [seen, anna, seen], budget=10) == [Outcome.GONE] * 3
        assert _held(database) == []


def test_a_username_that_is_not_ascii_is_compared_byte_for_byte(start_kamailio: StartKamailio, tmp_path: Path) -> None:
    """Kamailio refuses such a byte in a URI if it is escaped, which would look like a missing binding."""
    proxy = start_kamailio(configuration=without_authentication(tmp_path))
    with Phone("x", "example.com", "", proxy=proxy.sip) as phone, proxy.rpc() as client:
        phone.aor = phone.from_uri = "sip:j\xf6r'g%20@example.com"
        assert phone.register().ok
        (contact,) = usrloc.lookup(client, "j\xf6r'g @example.com")
        seen = Doomed("j\xf6r'g ", "example.com", contact.ruid, contact.last_modified, contact.cseq, contact.call_id)
        assert _remove_unchanged(client, replace(seen, call_id="\xf6")) is Outcome.NEWER
        assert _remove_unchanged(client, seen) is Outcome.GONE
        assert usrloc.lookup(client, "j\xf6r'g @example.com") == ()


def test_what_cannot_be_asked_is_told_for_each(reached: Proxy, client: JsonRpcClient, phone: Phone) -> None:
    """If Kamailio is stopped, a binding is neither gone nor newer."""
    seen = _as_it_is(client)
    reached.stop()
    for outcomes in (
        remove(client, [seen, replace(seen, username="bob")], budget=2),
        remove_unchanged(client, [seen, replace(seen, username="bob")], budget=2),
    ):
        assert [type(outcome) for outcome in outcomes] == [KamailioUnreachable, KamailioUnreachable]


def test_a_node_says_its_mode_where_it_loads_our_configuration(start_kamailio: StartKamailio) -> None:
    """The answer is cached, a setting wins, and a node that is down has no mode."""
    proxy = start_kamailio(db_mode=3)
    with proxy.rpc() as client:
        assert ask_mode(client) == 3
    assert Nodes(KamailioSettings(kamailio_rpc=proxy.rpc_url)).mode(0) == 3
    assert Nodes(KamailioSettings(kamailio_rpc=proxy.rpc_url, kamailio_db_mode=2)).mode(0) == 2
    assert Nodes(KamailioSettings(kamailio_rpc=proxy.rpc_url.replace("/RPC", "/x"))).mode(0) is None
    assert Nodes(KamailioSettings(kamailio_rpc=NOWHERE)).mode(0) is None


def test_a_node_of_6_1_says_its_mode_without_our_configuration(kamdbctl_url: str, tmp_path: Path) -> None:
    """Debian's configuration, by datagram. An older Kamailio does not say, and logs no error for the question."""
    with stock_proxy(tmp_path, database_url=kamdbctl_url) as proxy:
        proxy.start()
        with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
            assert ask_mode(client) == (2 if kamailio_is_at_least(6, 1) else None)
        assert "ERROR: jsonrpcs" not in proxy.log


def test_who_may_hold_a_binding() -> None:
    """All nodes, unless every node loads only its own rows; always all if they replicate."""
    urls = f"1={NOWHERE},2={NOWHERE}"
    nodes = Nodes(KamailioSettings(kamailio_rpc=urls))
    assert (nodes.holders(2), nodes.holders(9), nodes.holders(None)) == ((1, 2), (1, 2), (1, 2))
    replicated = Nodes(KamailioSettings(kamailio_rpc=urls, kamailio_replicated=True))
    assert replicated.holders(2) == (1, 2)
    single = Nodes(KamailioSettings(kamailio_rpc=NOWHERE))
    assert (single.holders(7), single.holders(None)) == ((0,), (0,))


@pytest.mark.parametrize("params", [("||61|1|1|",), ("|61|61|1|1|", "x"), ("|6 1|61|1|1|",), ("|61|61|x|1|",), ()])
def test_a_guarded_removal_of_another_form_is_no_command(proxy: Proxy, params: tuple[str, ...]) -> None:
    """The configuration accepts only the form that we send."""
    with proxy.rpc() as client, pytest.raises(RpcError, match="Method Not Allowed"):
        client.call("registrations.rm", *params)
