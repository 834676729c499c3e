"""Phones that try to get another user's calls or to fill the registrar's memory. They fail, and nobody else notices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kamailio import usrloc
from kamailio.patching.edits import patched
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.intruder import Challenge, Intruder, digest, ha1
from tests.stand.kamailio import Proxy, take_long_headers, with_line
from tests.stand.phone import Phone
from tests.stand.queue import fetched
from tests.stand.stock import StockProxy, stock_proxy

VICTIM = "sip:victim.test"
OWN = "sip:own.test"
StartStock = Callable[..., StockProxy]


@pytest.fixture
def registrar(start_kamailio: StartKamailio, add_device: AddDevice) -> Proxy:
    """A proxy with two tenants and one SIP worker, so that each request finds what the last one left in memory."""
    add_device("mallory", realm="own.test", password="mine")
    add_device("boss", realm="own.test", password="other")
    add_device("boss", realm="victim.test")
    add_device("mallory", realm="victim.test")
    return start_kamailio(children=1)


@pytest.fixture
def phones() -> Iterator[ExitStack]:
    """Closes all phones at the end of the test."""
    with ExitStack() as stack:
        yield stack


def bindings(proxy: Proxy, *aors: str) -> int:
    """Return the number of bindings of these AoRs."""
    with proxy.rpc() as rpc:
        return sum(len(usrloc.lookup(rpc, aor)) for aor in aors)


def entries(proxy: Proxy) -> dict[str, str]:
    """Return the entries about third parties in the registrar's shared memory."""
    with proxy.rpc(socket=True) as rpc:
        slots: Any = rpc.call("htable.dump", "registrations_source")
    return {item["name"]: str(item["value"]) for slot in slots for item in slot["slot"]}


def shared_memory(proxy: Proxy) -> int:
    """Return the bytes of shared memory in use."""
    with proxy.rpc(socket=True) as rpc:
        shown: Any = rpc.call("core.shmmem")
    return int(shown["used"])


# --- a digest username with "@": auth_db uses the column ha1b for it


GUESSES = {"NUL and the rest of one's own": b"\0" + ha1("mallory", "own.test", "mine")[1:], "NULs": b"\0" * 32, "": b""}


@pytest.mark.parametrize("guess", GUESSES.values(), ids=GUESSES)
def test_nobody_registers_by_what_lies_in_memory(registrar: Proxy, phones: ExitStack, guess: bytes) -> None:
    """A digest username user@realm is refused before a password is compared, whatever memory still holds."""
    mallory = phones.enter_context(Phone("mallory", "own.test", "mine", proxy=registrar.sip))
    for username in ("boss@victim.test", "boss@VICTIM.test", "sip:boss@victim.test", "boss@victim.test@x", "boss@"):

        def forge(challenge: Challenge, username: str = username) -> list[tuple[str, str]]:
            return [("Authorization", digest(challenge, username, guess, uri=VICTIM))]

        intruder = phones.enter_context(Intruder("boss", "victim.test", forge, proxy=registrar.sip))
        challenger = phones.enter_context(Phone("boss", "victim.test", "secret", proxy=registrar.sip))
        assert challenger.register().ok
        assert challenger.unregister().ok
        assert mallory.register().ok
        intruder.borrow_challenge(challenger)
        assert intruder.register().status == 403
    assert bindings(registrar, "boss@victim.test") == 0


@pytest.mark.parametrize(
    "disguise",
    [
        lambda value: [("Authorization", value)],
        lambda value: [("Authorization", value.replace("username=", 'opaque="\0", uSeRnAmE \r\n = '))],
        lambda value: [("Authorization", re.sub(r'"(boss@[^"]*)"', r"\1", value))],
        lambda value: [("Authorization", 'Digest username="x", realm="x"'), ("Authorization", value)],
        lambda value: [
            ("Authorization", 'Digest username="x", realm="x"'),
            ("Authorization", value.replace("username=", 'opaque="\0", username=')),
        ],
        lambda value: [("Authorization", value), ("Proxy-Authorization", 'Digest username="x", realm="x"')],
        lambda value: [("Authorization", 'Digest username="x", realm="x"')] * 120 + [("Authorization", value)],
    ],
    ids=["plain", "NUL before it", "a token", "second field", "second field with NUL", "both fields", "121st field"],
)
def test_an_at_sign_is_found_wherever_it_is(
    registrar: Proxy, phones: ExitStack, database: psycopg.Connection, disguise: Callable[[str], list[tuple[str, str]]]
) -> None:
    """The request is refused even with the right ha1b, which nobody knows."""
    row = database.execute("select ha1b from subscriber where username = 'boss' and domain = 'victim.test'").fetchone()
    assert row

    def forge(challenge: Challenge) -> list[tuple[str, str]]:
        return disguise(digest(challenge, "boss@victim.test", row[0].encode(), uri=VICTIM))

    intruder = phones.enter_context(Intruder("boss", "victim.test", forge, proxy=registrar.sip))
    assert intruder.register().status in {400, 403}
    assert bindings(registrar, "boss@victim.test") == 0


def test_credentials_that_kamailio_cannot_search_are_refused(
    start_kamailio: StartKamailio, add_device: AddDevice, phones: ExitStack, tmp_path: Path
) -> None:
    """They are also refused if pv_buffer_size is large enough for the headers, but not for their escaped form."""
    add_device("boss", realm="victim.test")
    proxy = start_kamailio(configuration=with_line(tmp_path, take_long_headers()))

    def forge(challenge: Challenge) -> list[tuple[str, str]]:
        own = digest(challenge, "boss", ha1("boss", "victim.test", "secret"), uri=VICTIM)
        return [("Authorization", own), ("Authorization", f'Digest realm="x", x="{"x" * 33000}", username="boss@x"')]

    intruder = phones.enter_context(Intruder("boss", "victim.test", forge, proxy=proxy.sip))
    assert intruder.register().status == 400


def test_a_percent_encoded_at_sign_is_none(registrar: Proxy, phones: ExitStack) -> None:
    """auth_db does not decode it, so the user is unknown."""
    for username in ("boss%40victim.test", "boss%2540victim.test"):
        phone = Phone("boss", "victim.test", "secret", proxy=registrar.sip, auth_username=username)
        assert phones.enter_context(phone).register().status == 401


# --- a valid password for another user's AoR


def test_a_password_serves_its_own_realm_only(
    registrar: Proxy, phones: ExitStack, database: psycopg.Connection
) -> None:
    """With ha1b set, as in kamdbctl's subscriber table, user@own-realm is still unknown in another realm."""
    own = ha1("mallory@own.test", "own.test", "mine").decode()
    database.execute("update subscriber set ha1b = %s where username = 'mallory' and domain = 'own.test'", (own,))

    def forge(challenge: Challenge) -> list[tuple[str, str]]:
        return [("Authorization", digest(challenge, "mallory@own.test", own.encode(), uri=VICTIM))]

    intruder = phones.enter_context(Intruder("mallory", "victim.test", forge, proxy=registrar.sip))
    assert intruder.register().status == 403
    wrong = phones.enter_context(Phone("mallory", "victim.test", "mine", proxy=registrar.sip))
    assert wrong.register().status == 401
    assert bindings(registrar, "mallory@victim.test") == 0


FALSE_NAMES: dict[str, Callable[[str], list[tuple[str, str]]]] = {
    "Proxy-Authorization": lambda own: [
        ("Authorization", own),
        ("Proxy-Authorization", 'Digest username="boss", realm="own.test", nonce="x", uri="sip:x", response="x"'),
    ],
    "first of two": lambda own: [
        ("Authorization", 'Digest username="boss", realm="x", nonce="x", uri="sip:x", response="x"'),
        ("Authorization", own),
    ],
    "alone": lambda own: [("Authorization", own)],
}


@pytest.mark.parametrize("forged", FALSE_NAMES.values(), ids=FALSE_NAMES)
def test_who_is_registered_is_whose_password_was_checked(
    registrar: Proxy, phones: ExitStack, forged: Callable[[str], list[tuple[str, str]]]
) -> None:
    """Further credentials for another realm or proxy (RFC 3261 section 22.3) are allowed but ignored."""

    def forge(challenge: Challenge) -> list[tuple[str, str]]:
        return forged(digest(challenge, "mallory", ha1("mallory", "own.test", "mine"), uri=OWN))

    assert phones.enter_context(Intruder("boss", "own.test", forge, proxy=registrar.sip)).register().status == 403
    assert bindings(registrar, "boss@own.test") == 0
    assert phones.enter_context(Intruder("mallory", "own.test", forge, proxy=registrar.sip)).register().ok


@pytest.mark.parametrize("first", [True, False], ids=["false name first", "false name alone"])
def test_a_caller_is_whose_password_was_checked(registrar: Proxy, phones: ExitStack, *, first: bool) -> None:
    """The same holds for a call: From must be the authenticated user."""
    false = ("Proxy-Authorization", 'Digest username="boss", realm="x", nonce="x", uri="sip:x", response="x"')

    def forge(challenge: Challenge) -> list[tuple[str, str]]:
        secret = ha1("mallory", "own.test", "mine")
        own = digest(challenge, "mallory", secret, uri="sip:mallory@own.test", method="MESSAGE")
        return [*([false] if first else []), ("Proxy-Authorization", own)]

    boss = phones.enter_context(Intruder("boss", "own.test", forge, proxy=registrar.sip))
    assert boss.ask("MESSAGE", "sip:mallory@own.test").status == 403
    mallory = phones.enter_context(Intruder("mallory", "own.test", forge, proxy=registrar.sip))
    assert mallory.ask("MESSAGE", "sip:mallory@own.test").status == 404, "authenticated, and nobody is registered"


# --- shared memory


def _third_party(proxy: Proxy, number: int, size: int = 0) -> Phone:
    boss = f"sip:{'x' * size}{number}@boss.test"
    contact = f"sip:mallory@192.0.2.7:5060;n={number}"
    return Phone("mallory", "own.test", "mine", proxy=proxy.sip, from_uri=boss, contact=contact)


def test_a_phone_comes_and_goes_as_third_parties(registrar: Proxy) -> None:
    """Each REGISTER has another From. Once the worker has fetched them, no entry and no memory is left."""
    with _third_party(registrar, 0) as phone:
        assert phone.register().ok
        assert phone.unregister().ok
    fetched(registrar)
    before = shared_memory(registrar)
    for number in range(300):
        with _third_party(registrar, number, 200) as phone:
            assert phone.register().ok
            assert phone.unregister().ok
    assert len(fetched(registrar)) == 300
    assert entries(registrar) == {}
    assert shared_memory(registrar) - before < 16_384


def test_a_phone_stays_as_third_parties(registrar: Proxy) -> None:
    """Many bindings, each with another From, use one digest each, in a table of fixed size."""
    for number in range(90):
        with _third_party(registrar, number, 200) as phone:
            assert phone.register().ok
    assert len({each.ruid for each in fetched(registrar)}) == 90
    held = entries(registrar)
    assert 80 <= len(held) <= 90  # two may share one place
    assert all(re.fullmatch(r"[0-9]{2,6}", place) for place in held)
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in held.values())


def test_what_nobody_fetches_is_bounded(registrar: Proxy, phones: ExitStack) -> None:
    """Without a running worker the oldest elements are dropped and the newest kept."""
    phone = phones.enter_context(_third_party(registrar, 0))
    for number in range(8200):
        phone.from_uri = f"sip:{number}@boss.test"
        assert phone.register().ok
    users = [each.from_user for each in fetched(registrar)]
    assert users == [str(number).encode() for number in range(8, 8200)]


def test_a_from_of_more_than_255_bytes_is_refused(registrar: Proxy) -> None:
    """Our proxy answers 400 and keeps nothing. A From of 255 bytes is announced."""
    stem = len("sip:1@boss.test")
    with _third_party(registrar, 1, 256 - stem) as long, _third_party(registrar, 1, 255 - stem) as short:
        assert len(long.from_uri) == len(short.from_uri) + 1 == 256
        refused = long.register()
        assert (refused.status, refused.reason) == (400, "From Too Long")
        assert fetched(registrar) == []
        assert entries(registrar) == {}
        assert short.register().ok
    assert len(fetched(registrar)) == 1


def test_contacts_of_one_phone_are_counted(
    start_kamailio: StartKamailio, add_device: AddDevice, phones: ExitStack
) -> None:
    """One contact more than KAMAILIO_MAX_CONTACTS gets a 503. A refresh does not count as one more."""
    add_device("mallory", realm="own.test", password="mine")
    proxy = start_kamailio(environment={"KAMAILIO_MAX_CONTACTS": "2"})
    first, second, third = (phones.enter_context(_third_party(proxy, number)) for number in range(3))
    assert [first.register().status, second.register().status, third.register().status] == [200, 200, 503]
    assert first.register().ok
    assert bindings(proxy, "mallory@own.test") == 2


# --- what is stored about a third party nevertheless


def test_two_contacts_of_one_request_have_its_from(registrar: Proxy, phones: ExitStack) -> None:
    """One REGISTER binds both (RFC 3261 section 10.2.1)."""
    contacts = "<sip:mallory@192.0.2.7:1>, <sip:mallory@192.0.2.7:2>"
    phone = Phone("mallory", "own.test", "mine", proxy=registrar.sip, from_uri="sip:s@boss.test", contact=contacts)
    assert phones.enter_context(phone).register().ok
    assert [each.from_user for each in fetched(registrar)] == [b"s", b"s"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("<tel:+49301234>", (b"+49301234", b"")),
        ("<sip:gw.test>", (b"", b"gw.test")),
        ("<sips:S@GW.test>", (b"S", b"GW.test")),
    ],
)
def test_a_from_without_user_or_host(
    registrar: Proxy, phones: ExitStack, value: str, said: tuple[bytes, bytes]
) -> None:
    """The announcement has the part that exists."""
    phone = phones.enter_context(Phone("mallory", "own.test", "mine", proxy=registrar.sip, from_uri=value))
    assert phone.register().ok
    assert [(each.from_user, each.from_host) for each in fetched(registrar)] == [said]
    assert "ERROR" not in registrar.log


def test_a_place_that_was_taken_over_costs_an_announcement(registrar: Proxy, phones: ExitStack) -> None:
    """If another binding takes the same place, both are announced again, and neither gets the other's From."""
    phone = phones.enter_context(_third_party(registrar, 1))
    assert phone.register().ok
    (said,) = fetched(registrar)
    (place,) = entries(registrar)
    with registrar.rpc(socket=True) as rpc:
        rpc.call("htable.sets", "registrations_source", place, "0" * 48)
    assert phone.register().ok
    assert phone.register().ok
    assert fetched(registrar) == [said]
    with registrar.rpc(socket=True) as rpc:
        rpc.call("htable.sets", "registrations_source", place, "0" * 48)
    assert phone.unregister().ok
    assert fetched(registrar) == []
    assert entries(registrar) == {}  # so the other one is announced again


def test_the_from_of_a_phone_with_very_many_bindings(
    start_kamailio: StartKamailio, add_device: AddDevice, database: psycopg.Connection, phones: ExitStack
) -> None:
    """The AoR has 150 other bindings. The phone's own, the last one, is found without an endless loop or an error."""
    add_device("mallory", realm="own.test", password="mine")
    database.execute(
        "insert into location (ruid, username, domain, contact, expires, last_modified, server_id) "
        "select 'uloc-' || n, 'mallory', 'own.test', 'sip:' || n || '@192.0.2.1', extract(epoch from now()) + 600, "
        "1000, 1 from generate_series(1, 150) n"
    )
    proxy = start_kamailio(children=1)
    phone = phones.enter_context(_third_party(proxy, 1))
    for from_uri, said in (("sip:1@boss.test", b"1"), ("sip:2@boss.test", b"2"), (phone.aor, b"")):
        phone.from_uri = from_uri
        assert phone.register().ok
        assert [each.from_user for each in fetched(proxy)] == [said]
    assert "runaway" not in proxy.log


# --- an operator's stock kamailio.cfg


@pytest.fixture
def start_stock(kamdbctl_url: str, tmp_path: Path) -> Iterator[StartStock]:
    """Start a patched stock proxy on a database of kamdbctl. boss and mallory are subscribers and devices."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as database, ExitStack() as running:
        database.execute("insert into account (id, name, realm) values ('a', 'A', 'example.com')")
        for name in ("boss", "mallory"):
            secret = ha1(name, "example.com", f"{name}'s").decode()
            database.execute(
                "insert into device (id, account_id, sip_username, ha1) values (%s, 'a', %s, %s)", (name, name, secret)
            )
            database.execute(
                "insert into subscriber (username, domain, password) values (%s, 'example.com', %s)",
                (name, f"{name}'s"),
            )

        def start(**options: Any) -> StockProxy:
            proxy = running.enter_context(stock_proxy(tmp_path, database_url=kamdbctl_url, **options))
            include = Path(__file__).parents[2] / "kamailio" / "registrations.cfg"
            (tmp_path / "registrations.cfg").write_bytes(include.read_bytes())
            proxy.configuration.write_text(patched(proxy.configuration.read_text(), defines={}), encoding="utf-8")
            proxy.start()
            return proxy

        yield start


def test_a_stock_proxy_on_the_directory_refuses_an_at_sign(start_stock: StartStock, phones: ExitStack) -> None:
    """The stock proxy reads our table: phones of the directory register, a wrong password does not."""
    proxy = start_stock(
        features=("WITH_AUTH", "REGISTRATIONS_AUTH_HA1"), edits={'"subscriber", "1"': '"directory_subscriber", "1"'}
    )
    sip = ("127.0.0.1", proxy.port)

    def forge(challenge: Challenge) -> list[tuple[str, str]]:
        return [("Authorization", digest(challenge, "boss@example.com", b"\0" * 32, uri="sip:example.com"))]

    assert phones.enter_context(Intruder("boss", "example.com", forge, proxy=sip)).register().status == 403
    assert phones.enter_context(Phone("boss", "example.com", "mallory's", proxy=sip)).register().status == 401
    assert phones.enter_context(Phone("boss", "example.com", "boss's", proxy=sip)).register().ok


def test_without_our_call_the_random_ha1b_keeps_everybody_out(start_stock: StartStock, phones: ExitStack) -> None:
    """The operator's file reads our table but does not call route(REGISTRATIONS_PREAUTH). One SIP worker serves all."""
    proxy = start_stock(
        features=("WITH_AUTH", "REGISTRATIONS_AUTH_HA1"),
        edits={'"subscriber", "1"': '"directory_subscriber", "1"', "\nchildren=8\n": "\nchildren=1\n"},
    )
    text = proxy.configuration.read_text()
    proxy.stop()
    proxy.configuration.write_text(text.replace("route(REGISTRATIONS_PREAUTH);", ""), encoding="utf-8")
    proxy.start()
    sip = ("127.0.0.1", proxy.port)
    own = ha1("mallory", "example.com", "mallory's")
    mallory = phones.enter_context(Phone("mallory", "example.com", "mallory's", proxy=sip))
    for guess in (b"\0" + own[1:], b"\0" * 32, b"", own):

        def forge(challenge: Challenge, guess: bytes = guess) -> list[tuple[str, str]]:
            return [("Authorization", digest(challenge, "boss@example.com", guess, uri="sip:example.com"))]

        intruder = phones.enter_context(Intruder("boss", "example.com", forge, proxy=sip))
        assert mallory.register().ok
        intruder.borrow_challenge(mallory)
        assert intruder.register().status == 401


@pytest.mark.parametrize("username", ["boss", "boss@example.com"])
def test_users_of_the_stock_proxy_register_as_before(start_stock: StartStock, phones: ExitStack, username: str) -> None:
    """Without REGISTRATIONS_AUTH_HA1 users may give user@realm, which auth_db accepts."""
    proxy = start_stock(features=("WITH_AUTH",))
    phone = Phone("boss", "example.com", "boss's", proxy=("127.0.0.1", proxy.port), auth_username=username)
    assert phones.enter_context(phone).register().ok


def test_a_long_from_keeps_no_phone_out_of_a_stock_proxy(start_stock: StartStock, phones: ExitStack) -> None:
    """The stock proxy accepted such a phone, so it still does. The phone shows as if it had registered itself."""
    proxy = start_stock()
    sip = ("127.0.0.1", proxy.port)
    phone = phones.enter_context(Phone("boss", "example.com", "", proxy=sip, from_uri=f"sip:{'x' * 3000}@gw.test"))
    assert phone.register().ok
    assert phone.register().ok
