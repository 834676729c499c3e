"""NOTIFY check-sync: the request to Kamailio, and the texts of phones that never get into it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from kamailio.edges import Edges
from kamailio.errors import KamailioUnreachable, RpcError, UnknownHost, UnsafeText
from kamailio.notify import Target, check_sync, notify
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from kamailio.transports.http import LOOPBACK_SOURCE
from tests.fixtures.kamailio import AddDevice
from tests.kamailio.test_rpc import fake_http_peer
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.process import free_port, wait_until
from tests.stand.sip import host_port

NOBODY = Target(username="bob", domain="child.test", contact="sip:bob@127.0.0.1:9")
KNOWN = Edges.parse("127.0.0.1, 10.0.0.0/8")
FULL = replace(NOBODY, received="sip:127.0.0.1:9;transport=ws", path="<sip:127.0.0.1:9;lr>", socket="tcp:127.0.0.1:9")


def _headers(target: Target) -> list[str]:
    block = notify(target, event="check-sync", edges=KNOWN).params[4]
    assert isinstance(block, str)
    assert block.endswith("\r\n")
    return block.removesuffix("\r\n").split("\r\n")


@pytest.mark.parametrize(
    ("columns", "next_hop", "socket"),
    [
        ({}, ".", "."),
        (
            {"received": "sip:[::1]:4;transport=ws", "source": "sip:[::1]:4;transport=ws", "socket": "tls:[::1]:5"},
            "sip:[::1]:4;transport=ws",
            "tls:[::1]:5",
        ),
        ({"received": "sip:10.0.0.1", "path": "<sip:10.0.0.2;lr>,<sip:10.0.0.3;lr>"}, "sip:10.0.0.2;lr", "."),
        ({"path": '"Edge" <sip:10.0.0.2;lr>;x=1'}, "sip:10.0.0.2;lr", "."),
    ],
    ids=["nothing", "received", "path", "display name"],
)
def test_the_way_to_the_phone_is_the_one_it_came(columns: dict[str, Any], next_hop: str, socket: str) -> None:
    """The URI is the contact; the next hop is the first proxy of the Path, otherwise the source of the REGISTER."""
    call = notify(replace(NOBODY, **columns), event="check-sync", edges=KNOWN)
    assert call.params[:4] == ("NOTIFY", "sip:bob@127.0.0.1:9", next_hop, socket)
    expected = [f"Route: {columns['path']}"] if "path" in columns else []
    assert [each for each in _headers(replace(NOBODY, **columns)) if each.startswith("Route")] == expected
    assert _headers(replace(NOBODY, **columns))[0].startswith("Route" if expected else "From")


SEEN = "sip:192.0.2.1:33333"
BY_WEBSOCKET = "sip:192.0.2.1:33333;transport=ws"
# A phone, the setting, and where its NOTIFY goes; "no way": the column that names an unknown host.
WAYS: dict[str, tuple[dict[str, str], str, str]] = {
    "listens on another port": ({"contact": "sip:b@192.0.2.1:5060", "source": SEEN}, "", "."),
    "listens by another transport": ({"contact": "sip:b@192.0.2.1:5060;transport=tcp", "source": SEEN}, "", "."),
    "behind NAT": ({"contact": "sip:b@10.0.0.9:5060", "source": SEEN}, "", SEEN),
    "behind NAT, all are edges": ({"contact": "sip:b@10.0.0.9:5060", "source": SEEN}, "*", SEEN),
    "by a balancer, the phones named": ({"contact": "sip:b@10.0.0.9:5060", "source": SEEN}, "10.0.0.0/8", "."),
    "elsewhere by maddr": ({"contact": "sip:b@192.0.2.1;maddr=10.0.0.9", "source": SEEN}, "", SEEN),
    "by a name": ({"contact": "sip:b@phone.test", "source": SEEN}, "", SEEN),
    "not sip": ({"contact": "tel:+49", "source": SEEN}, "", SEEN),
    "a browser": ({"contact": "sip:b@x.invalid;transport=ws", "source": BY_WEBSOCKET}, "", BY_WEBSOCKET),
    "a browser with its address": (
        {"contact": "sip:b@192.0.2.1;transport=ws", "source": BY_WEBSOCKET},
        "",
        BY_WEBSOCKET,
    ),
    "received": ({"contact": "sip:b@10.0.0.9", "received": SEEN, "source": SEEN}, "", SEEN),
    "received, another port": ({"received": "sip:192.0.2.1:5", "source": SEEN}, "", "sip:192.0.2.1:5"),
    "received, a stranger": ({"received": "sip:10.0.0.9:5", "source": SEEN}, "", "no way: received"),
    "received, an edge": ({"received": "sip:10.0.0.9:5", "source": SEEN}, "10.0.0.9", "sip:10.0.0.9:5"),
    "received, no source": ({"received": "sip:10.0.0.9:5"}, "", "no way: received"),
    "an edge": ({"path": "<sip:192.0.2.1:5060;lr>", "source": SEEN}, "", "sip:192.0.2.1:5060;lr"),
    "an edge, by TCP": (
        {"path": "<sip:192.0.2.1;transport=tcp;lr>", "received": "sip:10.0.0.9:5", "source": f"{SEEN};transport=tcp"},
        "",
        "sip:192.0.2.1;transport=tcp;lr",
    ),
    "a path of strangers": ({"path": "<sip:10.0.0.9;lr>", "source": SEEN}, "", "no way: path"),
    "strangers behind the edge": ({"path": "<sip:192.0.2.1;lr>,<sip:10.0.0.9;lr>", "source": SEEN}, "", "no way: path"),
    "strangers before the edge": ({"path": "<sip:10.0.0.9;lr>,<sip:192.0.2.1;lr>", "source": SEEN}, "", "no way: path"),
    "edges behind the edge": (
        {"path": "<sip:192.0.2.1;lr>,<sip:10.0.0.9;lr>", "source": SEEN},
        "10.0.0.9",
        "sip:192.0.2.1;lr",
    ),
    "no source": ({"contact": "sip:b@192.0.2.1"}, "", "no way: contact"),
    "no source, named": ({"contact": "sip:b@192.0.2.1"}, "192.0.2.1", "."),
    "no source, all are edges": ({"contact": "sip:b@192.0.2.1"}, "*", "."),
    "a source that is none": ({"contact": "sip:b@192.0.2.1", "source": "x"}, "", "no way: contact"),
}


@pytest.mark.parametrize(("known", "edges", "way"), WAYS.values(), ids=WAYS.keys())
def test_it_goes_where_calls_go_if_the_phone_was_seen_there(known: dict[str, Any], edges: str, way: str) -> None:
    """Or through an edge. Behind NAT it goes to the source. It never goes to an unknown host."""
    try:
        went = notify(replace(NOBODY, **known), event="check-sync", edges=Edges.parse(edges)).params[2]
    except UnknownHost as error:
        went = f"no way: {error.column}"
    assert went == way


def test_the_headers_name_the_aor_and_ourselves() -> None:
    """From and To are the AoR, escaped as in a URI. Contact is the socket that sends the request."""
    target = replace(FULL, username="a b\udce9\r\n<>@!", path=None)
    aor = "<sip:a%20b%E9%0D%0A%3C%3E%40%21@child.test>"
    assert _headers(target) == [
        f"From: {aor}",
        f"To: {aor}",
        "Contact: <sip:127.0.0.1:9;transport=tcp>",
        "Event: check-sync",
        "Subscription-State: terminated",
    ]


HOSTILE = {
    "line": "sip:bob@127.0.0.1:9\r\nX-Injected: 1",
    "CR": "sip:bob@127.0.0.1:9\rX-Injected: 1",
    "LF": "sip:bob@127.0.0.1:9\nX-Injected: 1",
    "trailing LF": "sip:bob@127.0.0.1:9\n",
    "NUL": "sip:bob@127.0.0.1:9\0",
    "start line": "sip:bob@127.0.0.1:9 SIP/2.0",
    "tab": "sip:bob@127.0.0.1:9\t",
    "DEL": "sip:bob@127.0.0.1:9\x7f",
    "bracket": "sip:bob@127.0.0.1:9>",
    "empty": " ",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("column", ["contact", "received", "path", "socket", "domain", "source"])
def test_nothing_that_a_phone_registered_becomes_a_header(column: str, text: str) -> None:
    """A control character, a blank or a bracket in any column is refused, and the error names the column."""
    text = {
        "path": f"<{text}>",
        "socket": text.replace("sip:bob@", "udp:"),
        "domain": text.replace("sip:bob@", "").replace(":9", ""),
    }.get(column, text)
    changed: dict[str, Any] = {column: text}
    with pytest.raises(UnsafeText) as caught:
        notify(replace(FULL, **changed), event="check-sync", edges=KNOWN)
    assert caught.value.column == column
    assert "\n" not in str(caught.value), "it is to be logged"


@pytest.mark.parametrize(
    "path",
    [
        "sip:10.0.0.2;lr",
        "<sip:10.0.0.2>;x=1\r\nX: 1",
        '"\n" <sip:10.0.0.2>',
        "<>",
        '"<sip:x>',
        '"\\" <sip:10.0.0.2>" <sip:192.0.2.1>"',
    ],
)
def test_a_path_without_a_route_in_it_is_refused(path: str) -> None:
    """A Path that does not consist of routes is refused as a whole."""
    with pytest.raises(UnsafeText):
        notify(replace(FULL, path=path), event="check-sync", edges=KNOWN)


def test_one_that_cannot_be_sent_keeps_no_other_back(reached: Proxy, add_device: AddDevice, rpc_url: str) -> None:
    """Each target has its own outcome, in order, whether we or Kamailio refuse it."""
    add_device("bob")
    with (
        Phone("bob", "example.com", "secret", proxy=reached.sip) as phone,
        reached.rpc(url=rpc_url) as client,
    ):
        ours = replace(NOBODY, contact=phone.contact, source=phone.contact)
        targets = [
            replace(ours, contact=f"{phone.contact}\r\nX: 1"),
            replace(ours, contact="sip:@@@"),
            ours,
            replace(ours, socket="udp:192.0.2.77:5060"),
        ]
        unsafe, invalid, sent, elsewhere = check_sync(client, targets, reboot=True, budget=5)
        assert isinstance(unsafe, UnsafeText)
        assert isinstance(invalid, RpcError)
        assert invalid.message.startswith("Invalid request uri")
        assert sent is None
        assert isinstance(elsewhere, RpcError)
        assert elsewhere.message.startswith("No local socket")
        request = phone.wait_for_request("NOTIFY")
        assert request.headers["Event"] == "check-sync;reboot=true"
        assert check_sync(client, [ours], reboot=False, budget=5) == [None]
        assert phone.wait_for_request("NOTIFY").headers["Event"] == "check-sync;reboot=false"
        assert len(phone.received) == 2


@contextmanager
def _phone_with_socket_of_ours(proxy: Proxy, transport: Any) -> Iterator[tuple[Phone, socket.socket]]:
    """Return a phone, and a socket of ours on the same port."""
    for _ in range(20):
        with (
            Phone("bob", "example.com", "secret", proxy=proxy.sip, transport=transport) as phone,
            socket.socket() as ours,
        ):
            assert phone.register().status == 200
            ours.settimeout(5)
            try:
                ours.bind((LOOPBACK_SOURCE, phone.local[1]))
            except OSError:
                continue
            yield phone, ours
            return
    raise RuntimeError("no port is free twice")


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_a_connection_of_ours_cuts_no_phone_off(proxy: Proxy, add_device: AddDevice, transport: Any) -> None:
    """A phone on the same port of 127.0.0.1 gets each NOTIFY, while our connection is open and after it is closed."""
    add_device("bob")
    with _phone_with_socket_of_ours(proxy, transport) as (phone, ours), proxy.rpc(socket=True) as client:
        received = f"sip:{host_port(*phone.local)};transport={transport}"
        by_any = replace(NOBODY, domain="example.com", contact=phone.contact, received=received, source=received)
        targets = [by_any, replace(by_any, socket=f"tcp:{host_port(*proxy.sip)}")]
        ours.connect(("127.0.0.1", proxy.rpc_port))
        ours.sendall(b"POST /RPC HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert ours.recv(65536).startswith(b"HTTP/1.1 ")
        assert check_sync(client, targets, reboot=False, budget=5) == [None, None]
        ours.close()
        wait_until(lambda: _connections(client) == 1, 5, "Kamailio to notice that our connection is closed")
        assert check_sync(client, targets, reboot=False, budget=5) == [None, None]
        wait_until(lambda: len(phone.received) == 4, 5, "all NOTIFYs")


def _connections(client: JsonRpcClient) -> int:
    information = client.call("core.tcp_info")
    assert isinstance(information, dict)
    return int(information["opened_connections"])


@pytest.mark.parametrize("mark", ["!", "!!", "a!b!c", "!!!!!!!!", "!i!"])
def test_tm_is_given_no_mark_of_its_own(proxy: Proxy, mark: str) -> None:
    """tm.t_uac_start would cut a header off at "!" or replace "!!". The Route arrives whole, with "!" escaped."""
    with Phone("edge", "example.com", "secret", proxy=proxy.sip) as edge, proxy.rpc() as client:
        route = f"<sip:{mark}@{edge.local[0]}:{edge.local[1]};lr>,<sip:127.0.0.1:9;lr;x={mark}>"
        target = replace(NOBODY, contact=f"sip:{mark}@127.0.0.1:9", path=route)
        assert check_sync(client, [target], reboot=False, budget=5, edges=KNOWN) == [None]
        request = edge.wait_for_request("NOTIFY")
    assert request.uri == target.contact
    assert request.headers.listed("Route") == route.replace("!", "%21").split(",")
    assert request.headers["Event"] == "check-sync;reboot=false"


def test_bytes_that_are_no_utf8_arrive_as_they_were_registered(proxy: Proxy) -> None:
    """The request has the exact bytes of the registered contact, whatever their encoding."""
    with Phone("bob", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc() as client:
        for odd in ("\udce9", "é日", "\udcff\udc80", "%00%0d%0A'\"\\"):
            contact = f"{phone.contact};line={odd}"
            target = replace(NOBODY, contact=contact, source=phone.contact)
            assert check_sync(client, [target], reboot=False, budget=5) == [None]
            assert phone.wait_for_request("NOTIFY").uri == contact


@pytest.mark.parametrize("message", ["Method Not Found", "Method Not Allowed", "Forbidden"])
def test_a_kamailio_that_serves_us_no_such_command_is_an_error(message: str) -> None:
    """It concerns every phone, so it is not one phone's outcome (fake peer: tm is not loaded, or HTTP refuses us)."""
    answer = b'{"jsonrpc":"2.0","error":{"code":500,"message":"%s"},"id":null}' % message.encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    with (
        fake_http_peer(http) as url,
        JsonRpcClient(transport_for(url)) as client,
        pytest.raises(RpcError, match=message),
    ):
        check_sync(client, [NOBODY], reboot=False, budget=5, edges=KNOWN)


def test_nobody_there() -> None:
    """A Kamailio that is not running is KamailioUnreachable. Without targets it is not asked."""
    with JsonRpcClient(transport_for(f"http://127.0.0.1:{free_port()}/RPC")) as client:
        assert check_sync(client, [], reboot=False, budget=1) == []
        with pytest.raises(KamailioUnreachable):
            check_sync(client, [NOBODY], reboot=False, budget=1, edges=KNOWN)
