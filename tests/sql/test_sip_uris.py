"""Contacts, sources and sockets as phones and usrloc write them, each read by hand."""

from __future__ import annotations

import psycopg
import pytest

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


@pytest.mark.parametrize(
    ("received", "ip", "port"),
    [
        ("sip:198.51.100.1:1024;transport=ws", "198.51.100.1", "1024"),
        ("sip:[2001:db8::9]:1024;transport=tcp", "[2001:db8::9]", "1024"),
        ("sip:198.51.100.1", "198.51.100.1", "5060"),
        ("sip:198.51.100.1;transport=tls", "198.51.100.1", "5061"),
        (None, "undefined", "undefined"),
        ("", "undefined", "undefined"),
        ("nonsense", "undefined", "undefined"),
    ],
)
def test_where_the_register_came_from(
    add_binding: AddBinding, database: psycopg.Connection, received: str | None, ip: str, port: str
) -> None:
    """Of received; what is not known is "undefined", and source_* are left out."""
    add_binding("alice", "example.com", received=received)
    row = database.execute("select network_ip, network_port, source_ip, source_port from registrations").fetchone()
    known = (None, None) if ip == "undefined" else (ip, port)
    assert row == (ip, port, *known)


@pytest.mark.parametrize(
    ("socket", "ip", "port"),
    [
        ("udp:192.0.2.9:5060", "192.0.2.9", "5060"),
        ("tls:[2001:db8::1]:5061", "[2001:db8::1]", "5061"),
        (None, "", ""),
        ("", "", ""),
        ("192.0.2.9:5060", "", ""),
        ("garbage", "", ""),
    ],
)
def test_the_socket_that_took_it(
    add_binding: AddBinding, database: psycopg.Connection, socket: str | None, ip: str, port: str
) -> None:
    """Address and port of Kamailio's own socket; "" where usrloc keeps none (DMQ, ul.add)."""
    add_binding("alice", "example.com", socket=socket)
    assert database.execute("select proxy_ip, proxy_port from registrations").fetchone() == (ip, port)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("Phone/1.0", "Phone/1.0"),
        ("T\u00c3\u00a9l\u00c3\u00a9phone", "T\u00e9l\u00e9phone"),
        ("T\u00e9l\u00e9phone \u65e5\u672c", "T\u00e9l\u00e9phone \u65e5\u672c"),
        ("T\u00e9l", "T\u00e9l"),
        ("\u00e6\u0097\u00a5\u00e6\u009c\u00ac", "\u65e5\u672c"),
        ("\u00f0\u009f\u0093\u009e", "\U0001f4de"),
        ("\u00ed\u00a0\u0080", "\u00ed\u00a0\u0080"),
        ("\u00c0\u0080", "\u00c0\u0080"),
        ("n/a", "n/a"),
        ("a\tb\u0001", "a\tb\u0001"),
    ],
)
def test_text_is_decoded_if_it_is_utf_8_byte_by_byte(
    add_binding: AddBinding, database: psycopg.Connection, stored: str, shown: str
) -> None:
    """One character a byte becomes the text that was meant; surrogates and overlong forms are left (RFC 3629)."""
    add_binding("alice", "example.com", user_agent=stored)
    assert database.execute("select user_agent from registrations").fetchone() == (shown,)
