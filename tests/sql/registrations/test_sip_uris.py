"""Contacts, sources and sockets as phones and usrloc write them, each read by hand."""

from __future__ import annotations

import psycopg
import pytest

from sql.registrations.census import take_census
from tests.fixtures.location import AddBinding

# contact, its host, its port
CONTACTS = [
    ("sip:alice@192.0.2.1", "192.0.2.1", "5060"),
    ("sip:alice@192.0.2.1:5080", "192.0.2.1", "5080"),
    ("sips:alice@192.0.2.1", "192.0.2.1", "5061"),
    ("SIPS:alice@Host.Example.COM", "Host.Example.COM", "5061"),
    ("sip:alice@192.0.2.1;transport=TLS;ob", "192.0.2.1", "5061"),
    ("sip:alice@192.0.2.1:5070;transport=tls", "192.0.2.1", "5070"),
    ("sip:alice@192.0.2.1;transport=tls-sctp", "192.0.2.1", "5060"),
    ("sip:alice@192.0.2.1;x=y?X-Note=;transport=tls", "192.0.2.1", "5060"),
    ("sip:al;transport=tls@192.0.2.1", "192.0.2.1", "5060"),
    ("sip:alice:secret@192.0.2.1:5062;line=x", "192.0.2.1", "5062"),
    ("sip:192.0.2.1:5070", "192.0.2.1", "5070"),
    ("sip:192.0.2.1", "192.0.2.1", "5060"),
    ("sip:[2001:db8::1]", "[2001:db8::1]", "5060"),
    ("sip:a@[2001:db8::1]:5066;transport=tcp", "[2001:db8::1]", "5066"),
    ("sip:al%40ice@192.0.2.1", "192.0.2.1", "5060"),
    ('sip:"al\\ice"@192.0.2.1:5071', "192.0.2.1", "5071"),
    ("sip:1:2@192.0.2.1?Route=%3Csip:x@y:1%3E", "192.0.2.1", "5060"),
    ("sip:alice@h8s.invalid;transport=ws", "h8s.invalid", "5060"),
    ("sip:x@[2001:db8::1", "", ""),
    ("sip:x@2001:db8::1", "", ""),
    ("sip:x@h:5062>", "h", "5062"),
    ("tel:+15551234567", "", ""),
    ("*", "", ""),
    ("", "", ""),
    ("sip:", "", ""),
    ("urn:service:sos", "", ""),
]


@pytest.mark.parametrize(("contact", "host", "port"), CONTACTS)
def test_host_and_port_of_a_contact(
    add_binding: AddBinding, database: psycopg.Connection, contact: str, host: str, port: str
) -> None:
    """The port defaults to 5060, or 5061 for sips: and transport=tls; IPv6 stays in brackets."""
    add_binding("alice", "example.com", contact=contact)
    row = database.execute("select contact, contact_ip, contact_port from registrations").fetchone()
    assert row == (contact, host, port)


# socket, received, contact, path, protocol
PROTOCOLS = [
    ("udp:192.0.2.9:5060", "sip:198.51.100.1:1024", "sip:a@h", None, "udp"),
    ("tcp:192.0.2.9:5060", "sip:198.51.100.1:1024;transport=tcp", "sip:a@h", None, "tcp"),
    ("tls:192.0.2.9:5061", "sip:198.51.100.1:1024;transport=tls", "sip:a@h", None, "tls"),
    ("tcp:192.0.2.9:80", "sip:198.51.100.1:1024;transport=ws", "sip:a@h.invalid;transport=ws", None, "ws"),
    ("tls:192.0.2.9:443", "sip:198.51.100.1:1024;transport=ws", "sip:a@h.invalid;transport=ws", None, "wss"),
    ("tls:[::1]:443", None, "sip:a@h.invalid;transport=WS", None, "wss"),
    ("udp:192.0.2.9:5060", "sip:198.51.100.1", "sip:a@h.invalid;transport=ws", "<sip:edge;lr>", "udp"),
    ("tcp:192.0.2.9:5060", None, "sip:a@h.invalid;transport=ws", "<sip:edge;lr>", "tcp"),
    ("sctp:192.0.2.9:5060", "sip:198.51.100.1:1;transport=sctp", "sip:a@h", None, "sctp"),
    (None, "sip:198.51.100.1:1024;transport=tcp", "sip:a@h", None, "tcp"),
    (None, "sip:198.51.100.1:1024", "sip:a@h", None, "udp"),
    (None, None, "sip:a@h;transport=tcp", None, None),
]


@pytest.mark.parametrize(("socket", "received", "contact", "path", "protocol"), PROTOCOLS)
def test_protocol_between_phone_and_proxy(
    add_binding: AddBinding,
    database: psycopg.Connection,
    socket: str | None,
    received: str | None,
    contact: str,
    path: str | None,
    protocol: str | None,
) -> None:
    """The socket tells it, but for WebSocket, which usrloc shows as TCP or TLS."""
    add_binding("alice", "example.com", socket=socket, received=received, contact=contact, path=path)
    assert database.execute("select proxy_protocol from registrations").fetchone() == (protocol,)


CONTACT = "sip:alice@192.0.2.10:5062;transport=tcp"


@pytest.mark.parametrize(
    ("received", "fetched", "contact", "ip", "port"),
    [
        ("sip:198.51.100.1:1024;transport=ws", None, CONTACT, "198.51.100.1", "1024"),
        ("sip:[2001:db8::9]:1024;transport=tcp", None, CONTACT, "[2001:db8::9]", "1024"),
        ("sip:198.51.100.1", None, CONTACT, "198.51.100.1", "5060"),
        ("sip:198.51.100.1;transport=tls", None, CONTACT, "198.51.100.1", "5061"),
        ("sip:198.51.100.1:1024", "sip:203.0.113.5:5060", CONTACT, "198.51.100.1", "1024"),
        (None, "sip:203.0.113.5:2048", CONTACT, "203.0.113.5", "2048"),
        (None, "sip:[2001:db8::9]:2048;transport=tcp", CONTACT, "[2001:db8::9]", "2048"),
        ("", "sip:203.0.113.5:2048", CONTACT, "203.0.113.5", "2048"),
        (None, None, CONTACT, "192.0.2.10", "5062"),
        ("", None, CONTACT, "192.0.2.10", "5062"),
        (None, None, "sip:alice@[2001:db8::10]", "[2001:db8::10]", "5060"),
        (None, None, "sips:alice@phone.example", "phone.example", "5061"),
        (None, "sip:203.0.113.5:2048", "tel:+4930123", "203.0.113.5", "2048"),
        (None, None, "tel:+4930123", "undefined", "undefined"),
    ],
)
def test_where_the_register_came_from(
    add_binding: AddBinding,
    database: psycopg.Connection,
    received: str | None,
    fetched: str | None,
    contact: str,
    ip: str,
    port: str,
) -> None:
    """From usrloc's received, then from what the worker fetched, then from the Contact: usrloc stored no other way."""
    ruid = add_binding("alice", "example.com", received=received, contact=contact)
    database.execute("insert into registration_source (ruid) values ('another'), (%s)", (ruid,))
    database.execute("update registration_source set received = %s where ruid = %s", (fetched, ruid))
    row = database.execute("select network_ip, network_port, source_ip, source_port from registrations").fetchone()
    known = (None, None) if ip == "undefined" else (ip, port)
    assert row == (ip, port, *known)


def test_websocket_behind_an_edge_is_told_by_what_the_worker_fetched(
    add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """In the list and in the census; usrloc has no received, and behind a Path the Contact does not tell."""
    ruid = add_binding("alice", "example.com", socket="tcp:192.0.2.9:5060", received=None, path="<sip:edge;lr>")
    assert _protocols(database) == ("tcp", {"tcp": 1})
    insert = "insert into registration_source (ruid, received) values (%s, 'sip:198.51.100.1:1024;transport=ws')"
    database.execute(insert, (ruid,))
    assert _protocols(database) == ("ws", {"ws": 1})


def _protocols(database: psycopg.Connection) -> tuple[str, dict[str | None, int]]:
    row, census = database.execute("select proxy_protocol from registrations").fetchone(), take_census(database)
    assert row is not None
    assert census is not None
    return row[0], dict(census.transports)


@pytest.mark.parametrize(
    ("socket", "ip", "port"),
    [
        ("udp:192.0.2.9:5060", "192.0.2.9", "5060"),
        ("tls:[2001:db8::1]:5061", "[2001:db8::1]", "5061"),
        ("udp:0.0.0.0:5060", "sip1.example.com", "5060"),
        ("tcp:[::]:5060", "sip1.example.com", "5060"),
        ("udp:10.0.0.0:5060", "10.0.0.0", "5060"),
        (None, "", ""),
        ("", "", ""),
        ("192.0.2.9:5060", "", ""),
        ("garbage", "", ""),
    ],
)
def test_the_socket_that_took_it(
    add_binding: AddBinding, database: psycopg.Connection, socket: str | None, ip: str, port: str
) -> None:
    """Address and port of Kamailio's socket; the node's host if it listens on every address; "" without a socket."""
    database.execute("insert into kamailio_node (server_id, name, hostname) values (1, 'sip1', 'sip1.example.com')")
    add_binding("alice", "example.com", socket=socket)
    assert database.execute("select proxy_ip, proxy_port from registrations").fetchone() == (ip, port)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("Phone/1.0", "Phone/1.0"),
        ("T\u00e9l\u00e9phone \u65e5\u672c \U0001f4de", "T\u00e9l\u00e9phone \u65e5\u672c \U0001f4de"),
        ("T\u00c3\u00a9l", "T\u00c3\u00a9l"),
        ("n/a", "n/a"),
        ("a\tb\u0001", "a\tb\u0001"),
        ("Phone\r\n 1.0", "Phone 1.0"),
        ("Phone \r\n\t 1.0", "Phone 1.0"),
        ("Phone\r\n \r\n 1.0\r\n\t(x)", "Phone 1.0 (x)"),
        ("Phone\r1.0\n(x)", "Phone 1.0 (x)"),
        ("T\u00e9l\r\n \u65e5", "T\u00e9l \u65e5"),
    ],
)
def test_a_text_shows_as_it_is_stored_on_one_line(
    add_binding: AddBinding, database: psycopg.Connection, stored: str, shown: str
) -> None:
    """A fold means one blank (RFC 3261, 7.3.1); so does a line break alone. Nothing else is touched."""
    path, contact = f"<sip:edge;x={stored}>", f"sip:alice@192.0.2.10;x={stored}"
    ruid = add_binding("alice", "example.com", user_agent=stored, callid=stored, path=path, contact=contact)
    database.execute("insert into registration_source (ruid, from_user) values (%s, %s)", (ruid, stored))
    row = database.execute(
        "select user_agent, call_id, from_user, proxy_path, contact, original_contact from registrations"
    ).fetchone()
    contact = f"sip:alice@192.0.2.10;x={shown}"
    assert row == (shown, shown, shown, f"<sip:edge;x={shown}>", contact, contact)


@pytest.mark.parametrize(
    ("username", "domain", "user", "realm"),
    [
        ("anna", "example.com", "anna", "example.com"),
        ("anna", "corp.example@example.com", "anna@corp.example", "example.com"),
        ("anna", "b@c@example.com", "anna@b@c", "example.com"),
        ("anna", "@example.com", "anna@", "example.com"),
        ("", "corp.example@example.com", "@corp.example", "example.com"),
        ("Anna", "Corp.Example@Example.COM", "Anna@Corp.Example", "Example.COM"),
        ("\u00e4nna", "c\u00f6rp@example.com", "\u00e4nna@c\u00f6rp", "example.com"),
        ("anna@corp.example", None, "anna@corp.example", None),
        ("anna@corp.example", "", "anna@corp.example", None),
        ("anna", None, "anna", None),
    ],
)
def test_an_aor_is_split_at_its_last_at(
    add_binding: AddBinding,
    database: psycopg.Connection,
    username: str,
    domain: str | None,
    user: str,
    realm: str | None,
) -> None:
    """usrloc splits it at the first, unless it keeps no domain (use_domain=0)."""
    add_binding(username, domain)
    assert database.execute("select username, realm from live_location").fetchone() == (user, realm)
    row = database.execute("select username, to_user, from_user, realm, to_host, from_host from registrations")
    assert row.fetchone() == (*[user] * 3, *[realm or ""] * 3)
