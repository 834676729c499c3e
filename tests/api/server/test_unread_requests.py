"""Requests that the server cannot read, or will not: each is answered in the envelope, and the answer arrives."""

from __future__ import annotations

import re
from itertools import product

import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.server import StartServer
from tests.stand.raw_http import RawReply, exchange

MEGABYTE = 1 << 20
PATH = b"/v2/accounts/child/registrations"
HOST = b"Host: api.test\r\nConnection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SECRET = b"0123456789abcdef"

TOO_LARGE: list[tuple[str, bytes, int, str]] = [
    ("a query of 1 MB", b"GET %b?q=%b HTTP/1.1\r\n%b\r\n" % (PATH, b"x" * MEGABYTE, HOST), 414, "request line"),
    ("a path of 1 MB", b"GET /%b HTTP/1.1\r\n%b\r\n" % (b"x" * MEGABYTE, HOST), 414, "request line"),
    ("a line without an end", b"GET /" + b"x" * MEGABYTE, 414, "request line"),
    ("a header of 9 kB", b"GET / HTTP/1.1\r\n%bX-A: %b\r\n\r\n" % (HOST, b"x" * 9000), 431, "request headers"),
    ("a header of 1 MB", b"GET / HTTP/1.1\r\n%bX-A: %b\r\n\r\n" % (HOST, b"x" * MEGABYTE), 431, "request headers"),
    ("headers of 1 MB", b"GET / HTTP/1.1\r\n%b%b\r\n" % (HOST, b"X-A: 0123456789\r\n" * 62000), 431, "request headers"),
    ("101 headers", b"GET / HTTP/1.1\r\n%b%b\r\n" % (HOST, b"X-A: 1\r\n" * 99), 431, "request headers"),
    (
        "a body of 1 MB",
        b"DELETE %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (PATH, HOST, MEGABYTE, b"x" * MEGABYTE),
        413,
        "request body",
    ),
    (
        "chunks of 1 MB",
        b"DELETE %b HTTP/1.1\r\n%b%b\r\n100000\r\n%b\r\n0\r\n\r\n" % (PATH, HOST, CHUNKED, b"x" * MEGABYTE),
        413,
        "request body",
    ),
]
MALFORMED: list[tuple[str, bytes]] = [
    ("no HTTP", b"hello\r\n\r\n"),
    ("of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("of SIP", b"OPTIONS sip:api.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n"),
    ("a method in lower case", b"get / HTTP/1.1\r\n%b\r\n" % HOST),
    ("HTTP/3 in words", b"GET / HTTP/3.0\r\n%b\r\n" % HOST),
    ("a space in the path", b"GET /v2 /x HTTP/1.1\r\n%b\r\n" % HOST),
    ("a NUL in the path", b"GET /v2/\x00 HTTP/1.1\r\n%b\r\n" % HOST),
    ("a raw byte in the path", b"GET /v2/\xff HTTP/1.1\r\n%b\r\n" % HOST),
    ("a NUL in a header", b"GET / HTTP/1.1\r\n%bX-A: a\x00b\r\n\r\n" % HOST),
    ("a CR in a header", b"GET / HTTP/1.1\r\n%bX-A: a\rb\r\n\r\n" % HOST),
    ("a line feed alone", b"GET / HTTP/1.1\n%b\r\n\r\n" % HOST),
    ("a header without a colon", b"GET / HTTP/1.1\r\n%bnonsense\r\n\r\n" % HOST),
    ("a space before the colon", b"GET / HTTP/1.1\r\n%bX-A : 1\r\n\r\n" % HOST),
    ("a folded header", b"GET / HTTP/1.1\r\n%bX-A: 1\r\n 2\r\n\r\n" % HOST),
    ("two lengths", b"DELETE / HTTP/1.1\r\n%bContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}" % HOST),
    ("a length below zero", b"DELETE / HTTP/1.1\r\n%bContent-Length: -1\r\n\r\n{}" % HOST),
    ("a length that is no number", b"DELETE / HTTP/1.1\r\n%bContent-Length: 0x2\r\n\r\n{}" % HOST),
    ("length and chunks", b"DELETE / HTTP/1.1\r\n%bContent-Length: 2\r\n%b\r\n0\r\n\r\n" % (HOST, CHUNKED)),
    ("an unknown coding", b"DELETE / HTTP/1.1\r\n%bTransfer-Encoding: magic\r\n\r\n{}" % HOST),
    ("chunks that are not last", b"DELETE / HTTP/1.1\r\n%bTransfer-Encoding: chunked, gzip\r\n\r\n{}" % HOST),
    ("chunks of HTTP/1.0", b"DELETE / HTTP/1.0\r\n%b\r\n0\r\n\r\n" % CHUNKED),
    ("a chunk without a size", b"PUT /v2/api_auth HTTP/1.1\r\n%b%b\r\nxyz\r\n{}\r\n0\r\n\r\n" % (HOST, CHUNKED)),
    ("a chunk that is longer", b"PUT /v2/api_auth HTTP/1.1\r\n%b%b\r\n2\r\n{}{}\r\n0\r\n\r\n" % (HOST, CHUNKED)),
    (
        "a host that none can be called",
        b"GET %b HTTP/1.1\r\nConnection: close\r\nHost: %b\r\n\r\n" % (PATH, b"x" * 300),
    ),
    ("an expectation", b"GET / HTTP/1.1\r\n%bExpect: wonders\r\n\r\n" % HOST),
]


def _is_envelope(reply: RawReply, status: int, message: str, words: str) -> None:
    envelope = reply.json()
    assert (reply.status, envelope["error"], envelope["message"]) == (status, str(status), message)
    assert (envelope["status"], envelope["data"]) == ("error", {"message": words})
    assert reply.headers["Content-Type"] == "application/json"
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    assert reply.headers["X-Request-ID"] == envelope["request_id"]
    assert re.fullmatch("[0-9a-f]{32}", envelope["request_id"])
    assert reply.headers["Connection"] == "close"
    assert reply.rest == b""


def test_what_is_too_large_is_answered_in_the_envelope(start_server: StartServer) -> None:
    """413, 414 or 431, also to a client that sends a megabyte before it reads; the server goes on serving others."""
    port = start_server().port
    for what, request, status, part in TOO_LARGE:
        print(what)
        _is_envelope(exchange(port, request), status, "request_too_large", f"{part} too large")
    assert exchange(port, b"GET /live HTTP/1.1\r\n%b\r\n" % HOST).status == 200


def test_what_is_no_http_is_answered_in_the_envelope(start_server: StartServer) -> None:
    """400, one reply, and the connection ends: nothing after it is taken for another request."""
    port = start_server().port
    smuggled = b"DELETE %b HTTP/1.1\r\n%b\r\n" % (PATH, HOST)
    for what, request in MALFORMED:
        print(what)
        _is_envelope(exchange(port, request + smuggled), 400, "parse_error", "failed to parse request")
    assert exchange(port, b"GET /live HTTP/1.1\r\n%b\r\n" % HOST).status == 200


def test_a_request_that_cannot_be_read_tells_the_log_no_token(start_server: StartServer) -> None:
    """One line with the cause, and nothing of the query."""
    server = start_server()
    for request in (
        b"GET %b?auth_token=%b HTTP/7\r\n\r\n" % (PATH, SECRET),
        b"GET %b HTTP/1.1\r\nX-Auth-Token: %b\x00\r\n\r\n" % (PATH, SECRET),
        b"GET %b HTTP/1.1\r\nX-Auth-Token %b\r\n\r\n" % (PATH, SECRET),
        b"GET %b?auth_token=%b%b HTTP/1.1\r\n\r\n" % (PATH, SECRET, b"x" * 5000),
    ):
        assert exchange(server.port, request).status in {400, 414}
    log = server.process.log_text()
    assert log.count("request cannot be read") == 4
    assert SECRET.decode() not in log


def test_a_body_that_breaks_after_the_answer_is_not_answered_again(
    start_server: StartServer, directory: Directory
) -> None:
    """A GET is answered without its body; when that turns out to be no chunks the connection ends, and that is all."""
    token = directory.tokens["child"].encode()
    request = b"GET %b HTTP/1.1\r\nHost: api.test\r\nX-Auth-Token: %b\r\n%b\r\nxyz\r\n" % (PATH, token, CHUNKED)
    reply = exchange(start_server().port, request)
    assert (reply.status, reply.rest) == (200, b"")


@pytest.mark.parametrize("request_id", [b"mine-1", b"mine 1"])
def test_a_reply_to_what_was_read_has_the_clients_own_request_id(start_server: StartServer, request_id: bytes) -> None:
    """By a real connection too: a sane one comes back, any other is replaced."""
    request = b"DELETE %b HTTP/1.1\r\n%bX-Request-ID: %b\r\nContent-Length: 70000\r\n\r\n%b"
    reply = exchange(start_server().port, request % (PATH, HOST, request_id, b"x" * 70000))
    assert reply.status == 413
    assert (reply.headers["X-Request-ID"] == request_id.decode()) == (b" " not in request_id)


def test_a_body_in_chunks_may_be_as_large_as_one_with_a_length(start_server: StartServer) -> None:
    """Exactly `api_max_body`, and not a byte more, however it is sent."""
    port = start_server(api_max_body="1024").port
    for size, status in ((1024, 401), (1025, 413)):
        body = b"{}".ljust(size)
        start = b"PUT /v2/api_auth HTTP/1.1\r\n" + HOST
        plain = exchange(port, start + b"Content-Length: %d\r\n\r\n%b" % (size, body))
        chunks = exchange(port, start + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body))
        assert (plain.status, chunks.status) == (status, status)


ODD: list[tuple[bytes, bytes, int, str]] = [
    (b"BREW", PATH, 405, "invalid_method"),
    (b"TRACE", PATH, 405, "invalid_method"),
    (b"X" * 20, PATH, 405, "invalid_method"),
    (b"CONNECT", b"api.test:80", 404, "faulty_request"),
    (b"OPTIONS", b"*", 404, "faulty_request"),
    (b"GET", b"*", 400, "parse_error"),
    (b"GET", b"http://elsewhere.test/v2/nothing", 404, "faulty_request"),
    (b"GET", b"//v2/accounts/child/registrations", 401, "invalid_credentials"),
    (b"GET", b"/v2//accounts/child/registrations", 404, "faulty_request"),
    (b"GET", b"/v2/../live", 404, "faulty_request"),
    (b"GET", b"/v2/%", 404, "faulty_request"),
    (b"GET", b"/%00", 404, "faulty_request"),
    (b"GET", b"?", 400, "parse_error"),
    (b"GET", PATH + b"?%=%&=&&;=%zz", 401, "invalid_credentials"),
    (b"GET", PATH + b"#fragment", 401, "invalid_credentials"),
]


HOSTS = [b"api.test", b"", b"[::1", b"a b", b"\xff", b"api.test:99999999", b"../.."]


def test_odd_methods_targets_and_hosts_are_answered_in_the_envelope(start_server: StartServer) -> None:
    """What is HTTP, but of no use, is a failure like any other, whatever host it asks for."""
    port = start_server().port
    for host, (method, target, status, message) in product(HOSTS, ODD):
        request = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (method, target, host)
        reply = exchange(port, request)
        envelope = reply.json()
        assert (reply.status, envelope["message"]) == (status, message), request
        assert (envelope["status"], envelope["error"]) == ("error", str(status))
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["X-Request-ID"] == envelope["request_id"]
