"""The JSON-RPC client, against a real Kamailio and against fake peers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio.errors import KamailioUnreachable, RpcError, RpcProtocolError
from kamailio.rpc import Call, JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.stand.kamailio import Proxy
from tests.stand.process import free_port


@pytest.fixture
def client(reached: Proxy, rpc_url: str) -> Iterator[JsonRpcClient]:
    """A client for each transport."""
    with reached.rpc(url=rpc_url) as client:
        yield client


def test_a_call_returns_the_result(client: JsonRpcClient) -> None:
    """The caller gets Kamailio's answer, over every transport."""
    assert str(client.call("core.version")).startswith("kamailio ")


def test_a_refusal_is_an_rpc_error(client: JsonRpcClient) -> None:
    """A refused call raises with Kamailio's code, message and the method, and the next call works."""
    with pytest.raises(RpcError) as caught:
        client.call("ul.lookup", "location", "nobody@example.com")
    assert (caught.value.code, caught.value.message, caught.value.method) == (
        500,
        "AOR not found in location table",
        "ul.lookup",
    )
    assert client.call("core.version")


def test_an_unknown_method_is_an_rpc_error(client: JsonRpcClient, way: str) -> None:
    """A method that Kamailio does not have is an error, not a silent success. HTTP serves only a few."""
    with pytest.raises(RpcError, match="Method Not Allowed" if way == "http" else "Method Not Found"):
        client.call("no.such")


def test_many_answers_come_in_the_order_of_the_calls(client: JsonRpcClient, way: str) -> None:
    """In whatever order Kamailio's workers finish, results and errors are in the order of the calls."""
    many = 30 if way == "kamctl" else 300
    calls = [
        Call("core.version") if number % 3 else Call("ul.lookup", ("location", f"nobody-{number}@example.com"))
        for number in range(many)
    ]
    results = client.call_many(calls, budget=30)
    assert len(results) == many
    for call, result in zip(calls, results, strict=True):
        assert isinstance(result, RpcError) == (call.method == "ul.lookup")


def test_each_of_many_refusals_stands_where_its_call_stood(client: JsonRpcClient, way: str) -> None:
    """Even refusals without an id are matched to their calls."""
    calls = [Call("no.such") if number % 3 else Call("core.version") for number in range(12)]
    results = client.call_many(calls, budget=30)
    assert [isinstance(result, RpcError) for result in results] == [call.method == "no.such" for call in calls]


def test_a_client_survives_a_restart_of_kamailio(client: JsonRpcClient, reached: Proxy) -> None:
    """A connection that died while idle is replaced, and the caller does not notice."""
    client.call("core.version")
    reached.restart()
    assert client.call("core.version")


def test_a_client_is_told_of_a_crash_and_works_after_it(client: JsonRpcClient, reached: Proxy) -> None:
    """A killed Kamailio is KamailioUnreachable until it is back, whether its sockets and FIFO remain or not."""
    client.call("core.version")
    reached.kill()
    with pytest.raises(KamailioUnreachable, match="0 of 20 calls answered"):
        client.call_many([Call("core.version")] * 20, budget=1)
    with pytest.raises(KamailioUnreachable):
        client.call_many([Call("core.version")], budget=1)
    reached.start()
    assert client.call("core.version")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/RPC", "unix:{path}", "udp:127.0.0.1:{port}", "fifo:{path}"])
def test_nobody_there(tmp_path: Path, url: str) -> None:
    """A Kamailio that is not running is KamailioUnreachable, and the message has the URL."""
    url = url.format(port=free_port(), path=tmp_path / "none")
    with JsonRpcClient(transport_for(url)) as client, pytest.raises(KamailioUnreachable, match=url):
        client.call("core.version")


def test_a_frozen_kamailio_costs_no_more_than_the_budget(client: JsonRpcClient, reached: Proxy) -> None:
    """A frozen Kamailio is KamailioUnreachable, and the message tells how many calls were answered."""
    client.call("core.version")
    os.killpg(reached.pid, signal.SIGSTOP)
    try:
        with pytest.raises(KamailioUnreachable, match="0 of 20 calls answered"):
            client.call_many([Call("core.version")] * 20, budget=0.3)
    finally:
        os.killpg(reached.pid, signal.SIGCONT)
    assert client.call("core.version"), "answers that came too late must not be taken for later ones"


@contextlib.contextmanager
def fake_http_peer(answer: bytes) -> Iterator[str]:
    """A fake: sends `answer` to the first request, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/RPC"
        thread.join()


@contextlib.contextmanager
def fake_datagram_peer(path: Path, answer: bytes) -> Iterator[str]:
    """A fake: sends `answer` to the first datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))

        def serve() -> None:
            _, peer = server.recvfrom(65536)
            server.sendto(answer, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix:{path}"
        thread.join()


NO_ANSWERS = {
    "batch": b'{"jsonrpc":"2.0","result":{}}',
    "another id": b'{"jsonrpc":"2.0","result":{},"id":4711}',
    "id null": b'{"jsonrpc":"2.0","result":{},"id":null}',
    "no result": b'{"jsonrpc":"2.0","id":1}',
    "text": b"500 whatever",
    "nothing": b"[]",
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_answer_of_ours_is_a_protocol_error(tmp_path: Path, answer: bytes) -> None:
    """Kamailio answers "result {}" also to what it did not execute. Without our id it is no success (fake peers)."""
    http = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    with fake_http_peer(http) as url, JsonRpcClient(transport_for(url)) as client, pytest.raises(RpcProtocolError):
        client.call("core.version")
    with (
        fake_datagram_peer(tmp_path / "rpc", answer) as url,
        JsonRpcClient(transport_for(url)) as client,
        pytest.raises(RpcProtocolError),
    ):
        client.call("core.version")


def test_a_connection_that_closes_is_unreachable() -> None:
    """A fake peer that closes in the middle of its answer is KamailioUnreachable, not half a result."""
    for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"):
        with (
            fake_http_peer(answer) as url,
            JsonRpcClient(transport_for(url)) as client,
            pytest.raises(KamailioUnreachable),
        ):
            client.call("core.version")
