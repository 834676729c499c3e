"""When a request is whole: exactly when gunicorn's parser would wait for nothing more, wherever it is cut."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from api.server.incoming import HEAD_BYTES, Incoming

MOST = 1000
HEAD = b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "no body": HEAD + b"\r\n",
    "an empty line before": b"\r\n" + HEAD + b"\r\n",
    "no header": b"GET / HTTP/1.0\r\n\r\n",
    "a length": HEAD + b"Content-Length: 5\r\n\r\n12345",
    "a length of nothing": HEAD + b"content-length:0\r\n\r\n",
    "a length in odd spaces": HEAD + b"CONTENT-LENGTH: \t 5 \r\nX-A: content-length: 9\r\n\r\n12345",
    "a body that looks like an end": HEAD + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n",
    "chunks": CHUNKED + b"3\r\nabc\r\nA\r\n0\r\n\r\n67890\r\n0\r\n\r\n",
    "chunks in capitals": CHUNKED.upper().replace(b"HTTP/1.1", b"HTTP/1.1") + b"0a\r\n1234567890\r\n000\r\n\r\n",
    "chunks with extensions": CHUNKED + b'3;a="b"\r\nabc\r\n0;c\r\n\r\n',
    "chunks with trailers": CHUNKED + b"3\r\nabc\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    "no chunk": CHUNKED + b"0\r\n\r\n",
    "as large as may be": HEAD + b"Content-Length: %d\r\n\r\n%b" % (MOST, b"x" * MOST),
    "chunks as large as may be": CHUNKED + b"1\r\nx\r\n" * MOST + b"0\r\n\r\n",
}


class _Asked(Unreader):
    """What has come, and whether more was asked for."""

    def __init__(self, received: bytes) -> None:
        super().__init__()
        self.unread(received)
        self.more = False

    def chunk(self, size_hint: int | None = None) -> bytes:  # noqa: ARG002  # gunicorn's signature
        self.more = True
        return b""


def _would_wait(received: bytes) -> bool:
    """Whether gunicorn wants more to read the request with its body."""
    asked = _Asked(received)
    try:
        parsed: Any = Request(Config(), asked, ("127.0.0.1", 1))
        parsed.body.read()
    except (ParseException, OSError, StopIteration):
        assert asked.more, received
    return asked.more


@pytest.mark.parametrize("request_", WHOLE.values(), ids=WHOLE.keys())
def test_a_request_is_whole_when_gunicorn_needs_no_more(request_: bytes) -> None:
    """After each byte, whether they come one by one or together; what follows is of the next request."""
    one_by_one = Incoming(b"", most=MOST, until=0)
    for end in range(1, len(request_) + 1):
        received = request_[:end]
        one_by_one.bytes += request_[end - 1 : end]
        whole = end == len(request_)
        assert one_by_one.is_whole() == Incoming(received, most=MOST, until=0).is_whole() == whole, received
        if whole or end % 7 == 0:
            assert _would_wait(received) is not whole
    assert Incoming(request_ + b"GET / HT", most=MOST, until=0).is_whole()


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\nHost: a\n",
        b"GET / HTTP/1.1\r\nX-A: " + b"x" * HEAD_BYTES,
        HEAD + b"Content-Length: %d\r\n\r\n" % (MOST + 2),
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: %b\r\n\r\n" % (b"9" * 5000),
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1_0\r\n",
        CHUNKED + b"2\r\nabcd\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"fffffff\r\n" + b"x" * (MOST + 1),
        CHUNKED + b"1\r\nx\r\n" * (MOST + 1),
        CHUNKED + b"1;" + b"x" * 20 * MOST,
        CHUNKED + b"0\r\nX-A: " + b"x" * 20 * MOST,
    ],
)
def test_what_will_be_refused_is_not_waited_for(begun: bytes) -> None:
    """Too large, or no HTTP: a thread can say so with what is there."""
    assert Incoming(begun, most=MOST, until=0).is_whole()


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_expectations_are_met_once_and_not_by_http_1_0(version: bytes) -> None:
    """Then the header is gone, so that gunicorn does not meet them again; the body is where it was."""
    head = b"PUT / %b\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n" % version
    incoming = Incoming(head, most=MOST, until=0)
    assert not incoming.is_whole()
    assert incoming.wants_continue() == (version == b"HTTP/1.1")
    assert not incoming.wants_continue()
    assert (b"Expect" in incoming.bytes) == (version == b"HTTP/1.0")
    incoming.bytes += b"{"
    assert not incoming.is_whole()
    incoming.bytes += b"}"
    assert incoming.is_whole()
