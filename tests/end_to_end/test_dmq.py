"""DMQ turns a node's message into a binding. So messages are accepted from configured nodes only."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.kamailio import StartKamailio
from tests.stand.kamailio import Proxy
from tests.stand.process import free_port, wait_until

VICTIM = "bob@child.test"


@pytest.fixture
def ports() -> tuple[int, int]:
    """Ports of two further nodes, which the test plays."""
    return free_port(), free_port()


@pytest.fixture
def node(start_kamailio: StartKamailio, directory: Directory, ports: tuple[int, int]) -> Proxy:
    """A node with two peers."""
    return start_kamailio(environment={"KAMAILIO_DMQ_PEER": ",".join(f"127.0.0.1:{port}" for port in ports)})


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """A socket on a node's machine that is not a node."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        opened.bind(("127.0.0.1", 0))
        yield opened


def kdmq(node: Proxy, source: str, *, channel: str = "usrloc", body: str | None = None) -> bytes:
    """Make a request of dmq_usrloc that adds a binding for the victim."""
    now = int(time.time())
    text = {"aor": VICTIM, "ruid": "uloc-evil-1", "c": "sip:evil@127.0.0.1:6666", "callid": "x", "user_agent": "evil"}
    text |= {"received": "", "path": "", "instance": ""}
    numbers = {"action": 1, "expires": now + 3000, "cseq": 1, "flags": 0, "cflags": 0, "q": -1, "last_modified": now}
    numbers |= {"methods": 16383, "reg_id": 0, "server_id": 7, "port": 0, "prot": 1}
    content = json.dumps(text | numbers) if body is None else body
    uri = f"sip:{channel}@127.0.0.1:{node.sip_port}"
    return (
        f"KDMQ {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bK{now}{channel}\r\n"
        f"From: <sip:{channel}@{source}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {source}\r\nCSeq: 1 KDMQ\r\n"
        f"Max-Forwards: 1\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


def say(opened: socket.socket, node: Proxy, request: bytes) -> bytes:
    """Send a request and return the status line of its final answer. Ignore other messages from the node."""
    opened.settimeout(5)
    opened.sendto(request, node.sip)
    while not (got := opened.recv(65535)).startswith(b"SIP/2.0"):
        pass
    return got.partition(b"\r\n")[0]


def contacts(node: Proxy) -> list[str]:
    """Return the victim's contacts."""
    with node.rpc() as rpc:
        return [each.address for each in usrloc.lookup(rpc, VICTIM)]


@pytest.mark.parametrize("via", ["own", "forged"])
def test_a_stranger_is_refused(node: Proxy, ports: tuple[int, int], stranger: socket.socket, via: str) -> None:
    """A sender on a node's machine but another port is refused, whatever its Via says, for bindings and for nodes."""
    source = f"127.0.0.1:{stranger.getsockname()[1] if via == 'own' else ports[0]};rport"
    assert say(stranger, node, kdmq(node, source)) == b"SIP/2.0 403 Not A Node"
    own = f"sip:127.0.0.1:{stranger.getsockname()[1]};status=active\r\n"
    request = kdmq(node, source, channel="notification_peer", body=own)
    assert say(stranger, node, request) == b"SIP/2.0 403 Not A Node"
    assert contacts(node) == []
    with node.rpc(socket=True) as rpc:
        nodes = rpc.call("dmq.list_nodes")
    assert str(stranger.getsockname()[1]) not in str(nodes)


def test_a_stranger_by_tcp_is_refused(node: Proxy, ports: tuple[int, int]) -> None:
    """TCP is refused even from a node's own port: the nodes use UDP."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as opened:
        opened.bind(("127.0.0.1", ports[1]))
        opened.settimeout(5)
        opened.connect(node.sip)
        opened.sendall(kdmq(node, f"127.0.0.1:{ports[1]}").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        assert opened.recv(65535).startswith(b"SIP/2.0 403 ")
    assert contacts(node) == []


@pytest.mark.parametrize("number", [0, 1])
def test_each_node_that_is_named_is_heard(node: Proxy, ports: tuple[int, int], number: int) -> None:
    """The first configured node and all others may send."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        opened.bind(("127.0.0.1", ports[number]))
        assert say(opened, node, kdmq(node, f"127.0.0.1:{ports[number]}")) == b"SIP/2.0 200 OK"
    wait_until(lambda: contacts(node) == ["sip:evil@127.0.0.1:6666"], 10, "the binding")
