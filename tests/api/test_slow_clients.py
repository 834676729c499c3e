"""Clients that send a request, or take its answer, slowly or never: the server has one thread, and serves others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.server import Started, StartServer
from tests.stand.process import wait_until
from tests.stand.raw_http import exchange

LIVE = b"GET /live HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
# Of everything that this server waits for the end must come sooner than clients here give up: ten seconds.
PATIENCE = "1"

BEGUN = {
    "a letter": b"G",
    "a line": b"GET /live HTTP/1.1\r\n",
    "a header": b"GET /live HTTP/1.1\r\nHost: api.test\r\nX-Slow: ",
    "a body": b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\nContent-Length: 60000\r\n\r\n{",
    "a chunk": b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{",
}

Connect = Callable[[], socket.socket]


@pytest.fixture
def server(start_server: StartServer) -> Started:
    return start_server(api_threads="1", api_request_timeout=PATIENCE, api_rate_burst="0")


@pytest.fixture
def connect(server: Started) -> Iterator[Connect]:
    """Connections to it that stay open, with the smallest buffer there is."""
    with ExitStack() as stack:

        def connected() -> socket.socket:
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", server.port))
            return connection

        yield connected


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed it; an answer that comes before that is read."""
    try:
        return connection.recv(65536, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def _takes_no_more(connection: socket.socket) -> bool:
    """Send one letter more, and look whether the server has closed the connection."""
    try:
        connection.send(b"x")
    except ConnectionError:
        return True
    return _is_closed(connection)


def test_who_says_nothing_holds_no_thread(server: Started, connect: Connect) -> None:
    """Twenty connections without a word, and another's request is answered; they are closed some time."""
    silent = [connect() for _ in range(20)]
    assert exchange(server.port, LIVE).status == 200
    for connection in silent:
        wait_until(partial(_is_closed, connection), 20, "the end of the connection")


@pytest.mark.parametrize("ended", [_is_closed, _takes_no_more], ids=["stops", "drips"])
def test_a_request_that_does_not_end_is_given_up(
    server: Started, connect: Connect, ended: Callable[[socket.socket], bool]
) -> None:
    """Whether the client says no more or a letter now and then; the only thread is free again, and the server well."""
    for what, begun in BEGUN.items():
        slow = connect()
        slow.sendall(begun)
        wait_until(partial(ended, slow), 20, f"the end of a connection that began with {what}", interval=0.2)
        assert exchange(server.port, LIVE).status == 200
    assert "Traceback" not in server.process.log_text()


def test_an_answer_that_is_not_taken_is_given_up(
    server: Started, connect: Connect, directory: Directory, add_binding: AddBinding
) -> None:
    """A list that no socket's buffer can hold, to a client that reads nothing: the thread is free again."""
    for number in range(1500):
        add_binding(f"phone{number}", "child.test", contact=f"sip:phone{number}@192.0.2.10:5062;x={'x' * 400}")
    deaf = connect()
    request = "GET /v2/accounts/child/registrations HTTP/1.1\r\nHost: api.test\r\nX-Auth-Token: {}\r\n\r\n"
    deaf.sendall(request.format(directory.tokens["child"]).encode())
    assert deaf.recv(1, socket.MSG_PEEK)
    assert exchange(server.port, LIVE).status == 200
