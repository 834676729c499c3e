"""Source and sender of a REGISTER, which usrloc does not store: POSTSAVE queues them once, and not at a refresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kamailio import usrloc
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.kamailio import CONFIGURATION, Proxy
from tests.stand.phone import Phone
from tests.stand.queue import Said, fetched
from tests.stand.sip_transport import TransportName

FROM_USERS = ["bob", "o'brien", "100%25", "%00", "$fu$(ru)$var(x)", "J\xf6rg", "J\udcf6rg", "a|b", "x" * 230]


def ruids(proxy: Proxy, aor: str) -> dict[str, str]:
    """Return the ruid of each contact."""
    with proxy.rpc() as client:
        return {each.address: each.ruid for each in usrloc.lookup(client, aor)}


@dataclass
class Site:
    """A proxy that leaves `received` empty, like the stock one without WITH_NAT, and its phones."""

    proxy: Proxy
    add_device: AddDevice
    _phones: list[Phone] = field(default_factory=list)

    def phone(self, username: str = "alice", **options: object) -> Phone:
        """A phone that may register; closed with the site."""
        if not any(each.username == username for each in self._phones):
            self.add_device(username)
        proxy = ("::1" if options.pop("ipv6", False) else "127.0.0.1", self.proxy.sip_port)
        self._phones.append(Phone(username, "example.com", "secret", proxy=proxy, **options))  # type: ignore[arg-type]
        return self._phones[-1]

    def close(self) -> None:
        """Close its phones."""
        for each in self._phones:
            each.close()


@pytest.fixture(params=[1, 2, 3])
def db_mode(request: pytest.FixtureRequest) -> int:
    """Each of usrloc's modes with a database."""
    return int(request.param)


@pytest.fixture
def site(start_kamailio: StartKamailio, add_device: AddDevice, tmp_path: Path, db_mode: int) -> Iterator[Site]:
    """A proxy in one mode. It has one worker, so the work after a 200 is done before the next request."""
    configuration = tmp_path / "kamailio.cfg"
    text = CONFIGURATION.read_text(encoding="utf-8").replace("$avp(RECEIVED) = $su;", "")
    configuration.write_text(text.replace('"registrations.cfg"', f'"{CONFIGURATION.parent}/registrations.cfg"'))
    proxy = start_kamailio(configuration=configuration, db_mode=db_mode, children=1, sip_host6="::1")
    found = Site(proxy, add_device)
    yield found
    found.close()


def source(phone: Phone) -> str:
    """Return the source of the phone's REGISTER, as Kamailio writes it."""
    host, port = phone.local
    transport = "" if phone.transport == "udp" else f";transport={phone.transport}"
    return f"sip:{f'[{host}]' if ':' in host else host}:{port}{transport}"


CONTACTS = {
    "where it is": "sip:alice@127.0.0.1:{port}",
    "another port": "sip:alice@127.0.0.1:9",
    "no port": "sip:alice@127.0.0.1",
    "another host": "sip:alice@192.0.2.1:{port}",
    "a name": "sip:alice@phone.example:{port}",
    "another transport": "sip:alice@127.0.0.1:{port};transport=tls",
    "sips": "sips:alice@127.0.0.1:{port}",
    "what it claims": "<sip:alice@127.0.0.1:{port}>;received=sip:192.0.2.9:5060",
    "what it claims, behind a NUL": '"\0" <sip:alice@127.0.0.1:{port}>;received=sip:192.0.2.9:5060',
    "what stands in quotes": '"<sip:alice@127.0.0.1:{port}>" <sip:alice@192.0.2.1:5060>',
    "what it claims, in another case": "<sip:alice@127.0.0.1:{port}>;x=1; Received =sip:192.0.2.9:5060",
}


@pytest.mark.parametrize("contact", CONTACTS.values(), ids=CONTACTS.keys())
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("ipv6", [False, True])
def test_a_source_is_said_once(site: Site, contact: str, transport: TransportName, ipv6: bool) -> None:
    """Once for each binding, whatever its Contact is; not at a refresh, but again for a new binding."""
    phone = site.phone(transport=transport, ipv6=ipv6)
    phone.register(0)  # now it has its address
    phone._contact = contact.format(port=phone.local[1])
    for _ in range(2):
        assert phone.register().ok
        (ruid,) = ruids(site.proxy, "alice@example.com").values()
        assert fetched(site.proxy) == [Said(ruid, source(phone), b"", b"")]
        assert phone.register().ok
        assert fetched(site.proxy) == []
        assert phone.unregister().ok
        assert ruids(site.proxy, "alice@example.com") == {}
        assert fetched(site.proxy) == []


def test_a_source_that_changes_is_said_again(site: Site) -> None:
    """The binding is the same, but its NAT address has changed."""
    first = site.phone(contact="sip:alice@192.0.2.1:5060", call_id="one")
    second = site.phone(contact="sip:alice@192.0.2.1:5060", call_id="one")
    assert first.register().ok
    second.cseq = first.cseq
    assert second.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    assert fetched(site.proxy) == [Said(ruid, source(each), b"", b"") for each in (first, second)]


def test_a_phone_that_returns_to_its_first_network_is_said_again(site: Site) -> None:
    """Wi-Fi, mobile and Wi-Fi again. With an instance it is one binding, whatever the Contact."""
    instance = "urn:uuid:00000000-0000-4000-8000-000000000001"
    home = site.phone(contact="sip:alice@192.0.2.1:5060", call_id="one", instance=instance)
    away = site.phone(contact="sip:alice@198.51.100.1:5060", call_id="one", instance=instance)
    for phone, before in ((home, away), (away, home), (home, away)):
        phone.cseq = before.cseq
        assert phone.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    assert fetched(site.proxy) == [Said(ruid, source(each), b"", b"") for each in (home, away, home)]


SHARED = "sip:alice@192.168.1.10:5060"  # the same private address behind two NATs

SAYINGS = {
    "alike": ({}, {}),
    "other parameters": ({"contact": f"<{SHARED}>;q=0.5"}, {"contact": f"<{SHARED}>;expires=300"}),
    "other names": ({"contact": f'"Desk" <{SHARED}>'}, {"contact": f'"Sofa" <{SHARED}>'}),
    "other case": ({}, {"aor": "sip:Alice@example.com"}),
    "escaped": ({}, {"aor": "sip:%61lice@example.com"}),
    "other port": ({}, {"aor": "sip:alice@example.com:5060"}),
    "user=phone": ({}, {"aor": "sip:alice@example.com;user=phone"}),
}


@pytest.mark.parametrize(("one", "other"), SAYINGS.values(), ids=SAYINGS.keys())
@pytest.mark.parametrize("db_mode", [1], indirect=True)
def test_two_phones_with_one_binding_are_said_in_turns(site: Site, one: dict[str, str], other: dict[str, str]) -> None:
    """usrloc knows the binding by its URI, so the source is that of the last REGISTER, however it spells the URI."""
    phones = [site.phone(contact=each.get("contact", SHARED)) for each in (one, other)]
    for phone, said in zip(phones, (one, other), strict=True):
        phone.aor = phone.from_uri = said.get("aor", phone.aor)
    turns = [*phones, *phones, phones[0]]
    for phone in turns:
        assert phone.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    assert fetched(site.proxy) == [Said(ruid, source(each), b"", b"") for each in turns]


def test_a_from_that_is_over_is_said_too(site: Site) -> None:
    """When a phone registers itself from now on, the third party's From must go."""
    phone = site.phone(instance="urn:uuid:00000000-0000-4000-8000-000000000001", from_uri="sip:boss@corp.example")
    assert phone.register().ok
    phone.from_uri = phone.aor
    for _ in range(3):
        assert phone.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    third_party = Said(ruid, source(phone), b"boss", b"corp.example")
    assert fetched(site.proxy) == [third_party, Said(ruid, source(phone), b"", b"")]


def test_after_a_restart_a_from_that_is_over_is_said_at_once(site: Site) -> None:
    """Kamailio has forgotten what it announced, and the row still has the From of before."""
    phone = site.phone(instance="urn:uuid:00000000-0000-4000-8000-000000000001", from_uri="sip:boss@corp.example")
    assert phone.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    assert fetched(site.proxy) == [Said(ruid, source(phone), b"boss", b"corp.example")]
    site.proxy.restart()
    phone.from_uri = phone.aor
    assert phone.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    assert fetched(site.proxy) == [Said(ruid, source(phone), b"", b"")]


@pytest.mark.parametrize("separator", [", ", ';x="\0", ', None], ids=["in one header", "behind a NUL", "in two"])
def test_of_several_contacts_each_has_its_own(site: Site, separator: str | None) -> None:
    """All contacts of one REGISTER have the same source."""
    phone = site.phone()
    phone.register(0)
    contacts = [phone.contact, "sip:alice@192.0.2.1:5060", "sip:alice@192.0.2.2:5060"]
    if separator:
        phone._contact = separator.join(f"<{each}>" for each in contacts)
    else:
        phone.extra_headers = [("m", f"<{each}>") for each in contacts[1:]]
    assert phone.register().ok
    known = ruids(site.proxy, "alice@example.com")
    said = {each.ruid: each for each in fetched(site.proxy)}
    assert said == {known[each]: Said(known[each], source(phone), b"", b"") for each in contacts}


def test_behind_an_edge_the_source_is_the_edge(site: Site) -> None:
    """A Path tells where calls go, even if the Contact is the source of the REGISTER."""
    phone = site.phone(contact="sip:alice@10.0.0.1:5060", extra_headers=[("Path", "<sip:192.0.2.5;lr>")])
    assert phone.register().ok
    assert [each.source for each in fetched(site.proxy)] == [source(phone)]


@pytest.mark.parametrize("from_user", FROM_USERS, ids=ascii)
@pytest.mark.parametrize("db_mode", [1], indirect=True)
def test_the_from_of_a_third_party_is_said_as_sent(site: Site, from_user: str) -> None:
    """Whatever bytes it has. The phone's own address, in any case, is not a third party."""
    phone = site.phone(from_uri=f"sip:{from_user}@boss.example")
    own = site.phone("bob", from_uri="sip:Bob@EXAMPLE.com")
    for each in (phone, phone, own):
        assert each.register().ok
    (ruid,) = ruids(site.proxy, "alice@example.com").values()
    expected = from_user.encode("utf-8", "surrogateescape")
    said = [each for each in fetched(site.proxy) if each.from_user or each.from_host]
    assert said == [Said(ruid, source(phone), expected, b"boss.example")]


# For each matching_mode: what else differs in a second binding, or in the same one elsewhere.
TURNS = {
    1: [{"call_id": "one"}, {"call_id": "one"}, {"call_id": "two"}],
    2: [{"path": "one"}, {"path": "one"}, {"path": "two"}],
    3: [{"contact": SHARED}, {"contact": "sip:alice@10.0.0.1:5060"}],
}


@pytest.mark.parametrize(("mode", "turns"), TURNS.items())
def test_in_each_matching_mode_the_last_source_is_said(
    start_kamailio: StartKamailio, add_device: AddDevice, mode: int, turns: list[dict[str, str]]
) -> None:
    """At home, away, and at home again, where another binding may have the same Contact."""
    proxy = start_kamailio(children=1, environment={"KAMAILIO_MATCHING_MODE": str(mode)})
    add_device("alice")
    expected: dict[str, str] = {}
    with (
        Phone("alice", "example.com", "secret", proxy=proxy.sip) as home,
        Phone("alice", "example.com", "secret", proxy=proxy.sip) as away,
    ):
        # The third is sent from where the first was, so it has the same content.
        steps = list(zip((home, away, home), (turns * 2)[:3], strict=True))
        cseq = 0
        for phone, turn in (*steps, steps[0], steps[0]):
            cseq += 10  # one device, in every network
            phone.cseq, phone.call_id = cseq, turn.get("call_id", "same")
            phone._contact = turn.get("contact", SHARED)
            phone.extra_headers = [("Path", f"<sip:{turn['path']}.example;lr>")] if "path" in turn else []
            assert phone.register().ok
            said = {each.ruid: each.source for each in fetched(proxy)}
            assert phone is steps[0][0] or said  # a refresh may queue nothing
            expected.update(said)
            with proxy.rpc() as client:
                (newest,) = (
                    each.ruid for each in usrloc.lookup(client, "alice@example.com") if each.cseq == phone.cseq
                )
            assert expected[newest] == source(phone)
    assert not said  # the last one was a refresh


def test_also_of_what_usrloc_has_itself(start_kamailio: StartKamailio, add_device: AddDevice) -> None:
    """As with WITH_NAT: `received` is the source there. Elsewhere a phone may choose it."""
    proxy = start_kamailio(children=1)
    add_device("alice")
    for transport in ("udp", "tcp", "ws"):
        contact = f"sip:alice@192.0.2.1:5060;transport={transport}"
        with Phone("alice", "example.com", "secret", proxy=proxy.sip, contact=contact, transport=transport) as phone:
            assert phone.register().ok
            assert phone.register().ok
            assert [each.source for each in fetched(proxy)] == [source(phone)]
