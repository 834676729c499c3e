"""The JSON-RPC client, against a real Kamailio, and against peers that only say they are one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kamailio.errors import KamailioUnreachable, RpcError, RpcProtocolError
from kamailio.rpc import Call, JsonRpcClient
from kamailio.transports import DatagramTransport, HttpTransport, transport_for
from tests.stand.kamailio import Proxy
from tests.stand.process import free_port

BY = pytest.mark.parametrize("by_datagram", [False, True], ids=["http", "datagram"])


@BY
def test_a_call_returns_the_result(proxy: Proxy, by_datagram: bool) -> None:
    """What Kamailio answers is what the caller gets, over either transport."""
    with proxy.rpc(socket=by_datagram) as client:
        assert str(client.call("core.version")).startswith("kamailio ")


@BY
def test_a_refusal_is_an_rpc_error(proxy: Proxy, by_datagram: bool) -> None:
    """A refused call raises with Kamailio's code, its message and the method, and the next call works."""
    with proxy.rpc(socket=by_datagram) as client:
        with pytest.raises(RpcError) as caught:
            client.call("ul.lookup", "location", "nobody@example.com")
        assert (caught.value.code, caught.value.message, caught.value.method) == (
            500,
            "AOR not found in location table",
            "ul.lookup",
        )
        assert client.call("core.version")


def test_an_unknown_method_is_an_rpc_error(proxy: Proxy) -> None:
    """A method that Kamailio does not have is an error, not a silent success."""
    with proxy.rpc(socket=True) as client, pytest.raises(RpcError, match="Method Not Found"):
        client.call("no.such")


@BY
def test_many_answers_come_in_the_order_of_the_calls(proxy: Proxy, by_datagram: bool) -> None:
    """However Kamailio's workers finish, each result stands where its call stood, errors among them."""
    calls = [
        Call("core.version") if number % 3 else Call("ul.lookup", ("location", f"nobody-{number}@example.com"))
        for number in range(300)
    ]
    with proxy.rpc(socket=by_datagram) as client:
        results = client.call_many(calls, budget=10)
    assert len(results) == 300
    for call, result in zip(calls, results, strict=True):
        assert isinstance(result, RpcError) == (call.method == "ul.lookup")


@BY
def test_a_client_survives_a_restart_of_kamailio(proxy: Proxy, by_datagram: bool) -> None:
    """A connection that died while idle is replaced without the caller noticing."""
    with proxy.rpc(socket=by_datagram) as client:
        client.call("core.version")
        proxy.restart()
        assert client.call("core.version")


@BY
def test_nobody_there(tmp_path: Path, by_datagram: bool) -> None:
    """A Kamailio that is not running is KamailioUnreachable, and the message says where it was looked for."""
    url = f"unix:{tmp_path}/none.sock" if by_datagram else f"http://127.0.0.1:{free_port()}/RPC"
    with JsonRpcClient(transport_for(url)) as client, pytest.raises(KamailioUnreachable, match=url):
        client.call("core.version")


@BY
def test_a_frozen_kamailio_costs_no_more_than_the_budget(proxy: Proxy, by_datagram: bool) -> None:
    """A Kamailio that answers nothing ends in KamailioUnreachable that tells how many calls were answered."""
    with proxy.rpc(socket=by_datagram) as client:
        client.call("core.version")
        os.killpg(proxy.pid, signal.SIGSTOP)
        try:
            with pytest.raises(KamailioUnreachable) as caught:
                client.call_many([Call("core.version")] * 20, budget=0.3)
        finally:
            os.killpg(proxy.pid, signal.SIGCONT)
        assert (caught.value.answered, caught.value.asked) == (0, 20)
        assert "0 of 20" in str(caught.value)
        assert client.call("core.version"), "answers that came too late must not be taken for later ones"


@BY
def test_bytes_that_are_no_utf8_pass_both_ways(proxy: Proxy, by_datagram: bool) -> None:
    """An AoR with a Latin-1 byte can be asked for, and is not mistaken for the one in UTF-8."""
    with (
        proxy.rpc(socket=by_datagram) as client,
        pytest.raises(RpcError, match="AOR not found"),
    ):
        client.call("ul.lookup", "location", "j\udcf6rg@example.com")


@contextlib.contextmanager
def fake_http_peer(answer: bytes) -> Iterator[str]:
    """A fake: says `answer` to the first request, whatever it is, and closes."""
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
    """A fake: says `answer` to the first datagram, whatever it is."""
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
    """Kamailio says "result {}" to what it did not execute: without our id that is no success (fake peers)."""
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
    """A fake peer that hangs up in the middle of its answer is KamailioUnreachable, not half a result."""
    for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"):
        with (
            fake_http_peer(answer) as url,
            JsonRpcClient(transport_for(url)) as client,
            pytest.raises(KamailioUnreachable),
        ):
            client.call("core.version")


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("http://127.0.0.1:5097/RPC", HttpTransport),
        ("http://[::1]:5097/RPC", HttpTransport),
        ("unix:/run/kamailio/kamailio_rpc.sock", DatagramTransport),
    ],
)
def test_a_url_chooses_the_transport(url: str, transport: Callable[[str], object]) -> None:
    """An operator chooses the transport by URL alone, and nothing is connected by that."""
    chosen = transport_for(url)
    assert type(chosen) is transport
    assert chosen.url == url


@pytest.mark.parametrize(
    "url", ["", "5097", "http://127.0.0.1/RPC", "http:///RPC", "https://x:1/RPC", "unix:", "unix:rpc.sock", "unix:/"]
)
def test_a_bad_url_is_refused(url: str) -> None:
    """A URL that names no transport is refused at once, with what was written."""
    with pytest.raises(ValueError, match=r"http://host:port|unix:/path") as caught:
        transport_for(url)
    assert repr(url) in str(caught.value)
