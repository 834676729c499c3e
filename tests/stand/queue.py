"""Fetches what POSTSAVE put into Kamailio's queue, as our worker does: the facts that usrloc does not store."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from kamailio.errors import RpcError
from tests.stand.kamailio import Proxy


@dataclass(frozen=True)
class Said:
    """An element of the queue."""

    ruid: str
    source: str
    from_user: bytes
    from_host: bytes


def finish(host: str, port: int) -> None:
    """Wait until the only SIP worker of this UDP socket is done with earlier requests: it sends a 200 before that."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(5)
        other.connect((host, port))
        other.send(
            b"OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK1\r\n"
            b"Max-Forwards: 70\r\nFrom: <sip:x@example.com>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: 1\r\n"
            b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        assert other.recv(65536).startswith(b"SIP/2.0 200")


def fetched(proxy: Proxy) -> list[Said]:
    """Fetch the whole queue over HTTP, as our worker does; the proxy must have one worker for each transport."""
    for host in (proxy.sip_host, *(["::1"] if "KAMAILIO_LISTEN_ADDRESS6" in proxy.environment else [])):
        finish(host, proxy.sip_port)
    said: list[Said] = []
    with proxy.rpc() as client:
        while True:
            try:
                element = client.call("mqueue.fetch", "registrations")
            except RpcError as error:
                if (error.code, error.message) != (404, "Empty queue"):
                    raise
                return said
            assert isinstance(element, dict)
            source, user, host = element["val"].split("|")
            said.append(Said(element["key"], source, bytes.fromhex(user), bytes.fromhex(host)))
