"""JSON-RPC by datagrams, to the dgram_socket of jsonrpcs: a unix socket or a UDP port."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

from kamailio.errors import KamailioUnreachable, NotCarried
from kamailio.transports.base import Answer, Request, reason, remaining

REQUEST_LIMIT = 65_400  # bytes; jsonrpcs has a buffer of 65,456 for request and answer, and is silent beyond
ANSWER_BUFFER = 65_536
UDP_ADDRESS = re.compile(r"(\[(?P<host6>[0-9A-Fa-f:.]+)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})", re.ASCII)


class DatagramTransport:
    """Several requests at once; each request and each answer is one datagram.

    A lost datagram is not sent again, because Kamailio may have executed the request. The wait ends at the deadline.
    The socket is connected: it gets no others' datagrams, and a closed UDP port is an error.
    """

    window = 8  # net.unix.max_dgram_qlen is 10

    def __init__(self, url: str, resolve: Callable[[], tuple[socket.AddressFamily, Any]]) -> None:
        self.url = url
        self._resolve = resolve  # returns the address of Kamailio's socket
        self._socket: socket.socket | None = None
        self._under_way = 0

    def send(self, request: Request, *, deadline: float) -> None:
        """Send one datagram; wait while Kamailio's queue is full. See `Transport.send`."""
        datagram = request.encode()
        if len(datagram) > REQUEST_LIMIT:
            raise NotCarried(self.url, f"{len(datagram)} bytes, of at most {REQUEST_LIMIT}", request.method)
        try:
            self._send(datagram, deadline)
        except OSError as error:
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error
        self._under_way += 1

    def receive(self, *, deadline: float) -> Answer:
        """Return the next datagram. See `Transport.receive`."""
        if self._socket is None:
            raise KamailioUnreachable(self.url, "nothing was sent")
        try:
            self._socket.settimeout(remaining(deadline))
            answer = self._socket.recv(ANSWER_BUFFER)
        except OSError as error:
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error
        self._under_way -= 1
        return Answer(answer)

    def close(self) -> None:
        """Close the socket. See `Transport.close`."""
        self._under_way = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, datagram: bytes, deadline: float) -> None:
        if self._socket is not None:
            self._socket.settimeout(remaining(deadline))
            try:
                self._socket.send(datagram)
            except ConnectionError:  # Kamailio has restarted, and nobody received the datagram
                if self._under_way:
                    raise  # the answers to earlier requests are lost
                self.close()
            else:
                return
        family, address = self._resolve()
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_UNIX:
            self._socket.bind("")
        self._socket.connect(address)
        self._socket.settimeout(remaining(deadline))
        self._socket.send(datagram)


def unix_transport(url: str) -> DatagramTransport:
    """Return the transport of datagrams to a unix socket.

    The reply address is an abstract one from the kernel (unix(7), autobind): Kamailio may write to it whatever users
    the two processes run as, and no file remains. It exists only within one network namespace.
    """
    path = url.removeprefix("unix:")
    if not path.startswith("/") or not path.strip("/"):
        raise ValueError(f"not unix:/path: {url!r}")
    return DatagramTransport(url, lambda: (socket.AF_UNIX, "/" + path.lstrip("/")))


def udp_transport(url: str) -> DatagramTransport:
    """Return the transport of datagrams to a UDP port."""
    match = UDP_ADDRESS.fullmatch(url.removeprefix("udp:"))
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError(f"not udp:host:port, IPv6 in brackets: {url!r}")

    def resolve() -> tuple[socket.AddressFamily, Any]:
        found = socket.getaddrinfo(match["host6"] or match["host"], int(match["port"]), type=socket.SOCK_DGRAM)
        # For a name Kamailio prefers the IPv4 address.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        return family, address

    return DatagramTransport(url, resolve)
