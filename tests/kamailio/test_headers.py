"""A header that is not UTF-8: the phone registers anyway, and nothing else of it changes."""

from __future__ import annotations

import psycopg
import pytest

from kamailio import usrloc
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.process import wait_until
from tests.stand.sip_transport import TransportName

LATIN1 = "\udcf6"  # one byte, o with diaeresis
UTF8 = "\u0421\u0432\u0435\u0442\u0430 \u2019 \U0001f600"


def stored(database: psycopg.Connection) -> list[tuple[object, ...]]:
    """Return User-Agent, contact and Path of each row."""
    return database.execute("select user_agent, contact, path from location order by id").fetchall()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("plain/1 (50%)", "plain/1 (50%)"),
        (UTF8, UTF8),
        ("a\r\n b", "a\r\n b"),
        (f"T{LATIN1}l\xe9phone 100%41", "T%f6l%c3%a9phone 100%41"),
        (f'a\r\n\t{LATIN1}\x7f$var(x) \\ "', 'a   %f6 $var(x) \\ "'),
        ("\udced\udca0\udc80 half a pair", "%ed%a0%80 half a pair"),
        ("\udcc0\udcaf too long a form", "%c0%af too long a form"),
        ("\udcf4\udc90\udc80\udc80 beyond", "%f4%90%80%80 beyond"),
        ("cut off \udce2\udc82", "cut off %e2%82"),
        (LATIN1 * 84, "%f6" * 84),
        (LATIN1 * 998, "n/a"),  # longer than the column
    ],
    ids=lambda text: ascii(text)[:30],
)
@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_a_user_agent_in_another_encoding_registers(
    proxy: Proxy,
    add_device: AddDevice,
    database: psycopg.Connection,
    sent: str,
    expected: str,
    transport: TransportName,
) -> None:
    """Only the invalid bytes are rewritten, and a refresh updates the same binding."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, user_agent=sent, transport=transport) as phone:
        assert phone.register().ok
        assert phone.register().ok
        assert stored(database) == [(expected, phone.contact, None)]


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("name", ["Contact", "m"])
def test_a_contact_in_another_encoding_comes_and_goes(
    start_kamailio: StartKamailio, add_device: AddDevice, database: psycopg.Connection, db_mode: int, name: str
) -> None:
    """Each contact of the request keeps its place and parameters, and the same bytes remove it."""
    proxy = start_kamailio(db_mode=db_mode)
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, contact=f"sip:j{LATIN1}rg@192.0.2.1") as phone:
        phone.extra_headers = [(name, f'"J{LATIN1}rg, J." <sip:b@192.0.2.2>;q=0.5, <sip:c%41@192.0.2.3>')]
        assert phone.register().ok
        wait_until(lambda: len(stored(database)) == 3, 10, "the rows")
        rows = database.execute("select contact, q from location order by contact").fetchall()
        assert rows == [("sip:b@192.0.2.2", 0.5), ("sip:c%41@192.0.2.3", -1), ("sip:j%f6rg@192.0.2.1", -1)]
        phone.extra_headers = []
        assert phone.register(0).ok
        with proxy.rpc() as client:
            left = usrloc.lookup(client, "alice@example.com")
        assert [each.address for each in left] == ["sip:b@192.0.2.2", "sip:c%41@192.0.2.3"]


def test_a_path_in_another_encoding_is_kept_in_its_order(
    proxy: Proxy, add_device: AddDevice, database: psycopg.Connection
) -> None:
    """A call goes through the same edges in the same order."""
    add_device("alice")
    path = [("Path", "<sip:one@192.0.2.1;lr>"), ("Path", f"<sip:t{LATIN1}o@192.0.2.2;lr>, <sip:192.0.2.3;lr>")]
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, extra_headers=path) as phone:
        assert phone.register().ok
        expected = "<sip:one@192.0.2.1;lr>,<sip:t%f6o@192.0.2.2;lr>, <sip:192.0.2.3;lr>"
        assert stored(database) == [("registrations-test-phone", phone.contact, expected)]


def test_what_is_too_long_or_too_often_there_fares_as_with_the_stock_proxy(
    proxy: Proxy, add_device: AddDevice, database: psycopg.Connection
) -> None:
    """usrloc itself refuses or drops it, and Kamailio keeps running."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, transport="tcp") as phone:
        phone.user_agent = LATIN1 * 12000
        assert phone.register().ok
        assert stored(database) == [("n/a", phone.contact, None)]
        phone.user_agent = "x"
        phone.extra_headers = [("Path", f"<sip:{LATIN1}@192.0.2.1;lr>")] * 21
        assert phone.register().status == 400  # "Path parse error": more than usrloc takes
        phone.extra_headers = [("Contact", f"<sip:{LATIN1 * 3000}@192.0.2.1>")]
        assert phone.register().status == 400
        phone.extra_headers = [("Contact", f"<sip:{LATIN1 * 900}@192.0.2.1>")]
        assert phone.register().status == 400  # "Contact/received too long"
        phone.extra_headers = []
        assert phone.register().ok


def test_two_halves_of_a_character_are_none(proxy: Proxy, add_device: AddDevice, database: psycopg.Connection) -> None:
    """Each header is checked by itself, and one may be empty."""
    add_device("alice")
    halves = [("Path", "<sip:192.0.2.1;lr>;x=\udcc3"), ("Path", "\udca9 <sip:192.0.2.2;lr>"), ("User-Agent", "")]
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, extra_headers=halves) as phone:
        assert phone.register().ok
        assert stored(database)[0][2] == "<sip:192.0.2.1;lr>;x=%c3,%a9 <sip:192.0.2.2;lr>"
        phone.user_agent = LATIN1
        assert phone.register().ok
        assert stored(database)[0][0] == "%f6"


@pytest.mark.parametrize("value", ["0", "00", "x", '"0"', "-1", "4294967296", "9" * 30])
def test_an_invalid_reg_id_is_refused(proxy: Proxy, add_device: AddDevice, value: str) -> None:
    """Kamailio 5.6 would answer 200 and store nothing."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone:
        instance = '+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>"'
        phone._contact = f"<sip:alice@192.0.2.1>;reg-id={value};{instance}"
        response = phone.register()
        assert (response.status, response.reason) == (400, "Invalid reg-id")
        for valid in ("010", "2147483647", "4000000000"):
            phone._contact = f"<sip:alice@192.0.2.1>;reg-id={valid};{instance}"
            assert phone.register().ok
            assert phone.registered
        phone._contact = f"<sip:alice@192.0.2.1>;reg-id={value}"  # ignored without an instance
        assert phone.register().ok
