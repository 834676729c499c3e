"""Clients that send a request, or take its answer, slowly or never: the server has one thread, and serves others."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import pytest

from api.document import SWAGGER_UI
from api.settings import ApiSettings
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

# The server ends each of these connections when it has answered: all was read, some has come, or is still to come.
ANSWERED = {
    "a request": LIVE,
    "two requests": LIVE + LIVE,
    "half a body": b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500,
    "no body": b"DELETE /v2/nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
    "no HTTP": b"hello\r\n\r\nhello",
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


def _ask(connection: socket.socket) -> int:
    connection.sendall(LIVE.replace(b"Connection: close\r\n", b""))
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def test_an_idle_connection_stays_open_for_longer_than_a_proxy_keeps_it(start_server: StartServer) -> None:
    """Or a POST that a proxy sends just then is lost. nginx keeps its own for 60 s; who has never asked goes sooner."""
    assert ApiSettings().api_keepalive > 60
    server = start_server(api_request_timeout="3")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
        assert _ask(idle) == 200
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
            wait_until(partial(_is_closed, silent), 20, "the end of the silent connection")
        assert _ask(idle) == 200


def test_an_idle_connection_is_closed_after_the_setting(start_server: StartServer) -> None:
    """REGISTRATIONS_API_KEEPALIVE."""
    server = start_server(api_keepalive="1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
        assert _ask(idle) == 200
        wait_until(partial(_is_closed, idle), 20, "the end of the connection")


def test_who_has_begun_to_ask_holds_no_thread(server: Started, connect: Connect) -> None:
    """Twenty of each kind at once, more than would come to their turn while another's request is waited for."""
    for begun in BEGUN.values():
        for _ in range(20):
            connect().sendall(begun)
    assert exchange(server.port, LIVE).status == 200


def test_more_connections_than_there_may_be_keep_nobody_out(server: Started) -> None:
    """gunicorn takes 1,000 and then none; here the oldest that only begins to ask goes for one that is new."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    try:
        with ExitStack() as begun:
            for _ in range(1100):
                connection = begun.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
                connection.sendall(b"G")
            assert exchange(server.port, LIVE).status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    assert "Traceback" not in server.process.log_text()


def test_a_request_in_single_bytes_is_a_request(server: Started, connect: Connect) -> None:
    """However it comes, and with another one behind it: as a whole, and each is answered."""
    body = b'{"data": {"api_key": "none"}}'
    start = b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\n"
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % each for each in body)
    slow = connect()
    slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for request, status in (
        (start + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), b"401"),
        (start + b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks, b"401"),
        (start + b"Transfer-Encoding: chunked\r\n\r\n%b0\r\nX-Trailer: 1\r\n\r\n" % chunks, b"401"),
        (LIVE.replace(b"Connection: close\r\n", b""), b"200"),
    ):
        for at in range(len(request)):
            slow.sendall(request[at : at + 1])
        response = HTTPResponse(slow)
        response.begin()
        assert b"%d" % response.status == status
        response.read()
    slow.sendall(2 * LIVE.replace(b"Connection: close\r\n", b"") + LIVE)
    answers = b""
    while more := slow.recv(65536):
        answers += more
    assert answers.count(b"HTTP/1.1 200 ") == 3


def test_who_waits_for_a_100_gets_one(server: Started, connect: Connect) -> None:
    """Before the body is sent, and once; then the answer. A body that is too large is answered without it."""
    head = b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nConnection: close\r\n"
    polite = connect()
    polite.sendall(head + b"Content-Length: 2\r\n\r\n")
    assert polite.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert exchange(server.port, LIVE).status == 200
    polite.sendall(b"{}")
    assert polite.recv(12) == b"HTTP/1.1 401"
    large = connect()
    large.sendall(head + b"Content-Length: 1000000\r\n\r\n")
    answer = b""
    while more := large.recv(65536):
        answer += more
    assert b"HTTP/1.1 413 " in answer


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


@pytest.mark.parametrize("request_", ANSWERED.values(), ids=ANSWERED.keys())
def test_who_has_an_answer_and_stays_holds_no_thread(server: Started, connect: Connect, request_: bytes) -> None:
    """A whole answer for each of them at once, though nobody hangs up: neither a thread nor the main loop waits."""
    staying = [connect() for _ in range(20)]
    for connection in staying:
        connection.sendall(request_)
    for connection in reversed(staying):
        answer = b""
        while more := connection.recv(65536):
            answer += more
        assert answer.startswith(b"HTTP/1.1 ")
        assert answer.endswith(b"}\n")
    assert exchange(server.port, LIVE).status == 200
    for connection in staying:
        wait_until(partial(_takes_no_more, connection), 20, "the end of the connection")


def test_who_takes_no_answer_holds_no_thread(server: Started, connect: Connect) -> None:
    """Twenty ask for a file that no buffer can hold, which anybody may; one who takes his time has all of it."""
    ask = b"GET /v2/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: api.test\r\n\r\n"
    for _ in range(20):
        connect().sendall(ask)
    slow = connect()
    slow.sendall(ask)
    assert exchange(server.port, LIVE).status == 200
    response = HTTPResponse(slow)
    response.begin()
    assert response.read() == Path(SWAGGER_UI, "swagger-ui-bundle.js").read_bytes()
    slow.sendall(LIVE)
    assert slow.recv(12) == b"HTTP/1.1 200"


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
