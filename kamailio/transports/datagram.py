"""JSON-RPC by datagrams, to what jsonrpcs calls dgram_socket: a unix socket or a UDP port, as it is told."""

from __future__ import annotations

import contextlib
import re
import socket
from abc import ABC, abstractmethod

from kamailio.errors import KamailioUnreachable, NotCarried
from kamailio.transports.base import Answer, Request, reason, remaining

REQUEST_LIMIT = 65_400  # bytes; jsonrpcs answers nothing to more (its buffer has 65,456), nor with more
ANSWER_BUFFER = 65_536
UDP_ADDRESS = re.compile(r"(\[(?P<host6>[0-9A-Fa-f:.]+)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})", re.ASCII)


class DatagramTransport(ABC):
    """Several requests under way at once, each in a datagram, and so its answer.

    A datagram that is lost is not sent again, since what it asked for may have been done: the deadline ends the wait.
    """

    window = 8  # of net.unix.max_dgram_qlen = 10

    def __init__(self, url: str) -> None:
        self.url = url
        self._socket: socket.socket | None = None
        self._under_way = 0

    @abstractmethod
    def _open(self) -> socket.socket:
        """Return a new socket that is connected to Kamailio's, which needs nobody there yet."""

    def send(self, request: Request, *, deadline: float) -> None:
        """Send one datagram, waiting while Kamailio's queue is full; see `Transport.send`."""
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
        """Return the next datagram; see `Transport.receive`."""
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
        """Close the socket; see `Transport.close`."""
        self._under_way = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, datagram: bytes, deadline: float) -> None:
        if self._socket is not None:
            self._socket.settimeout(remaining(deadline))
            try:
                self._socket.send(datagram)
            except ConnectionError:  # Kamailio was restarted, and the datagram taken by nobody
                if self._under_way:
                    raise  # their answers are lost
                self.close()
            else:
                return
        self._socket = self._open()
        self._socket.settimeout(remaining(deadline))
        self._socket.send(datagram)


class UnixTransport(DatagramTransport):
    """To a unix socket.

    The reply address is an abstract one that the kernel picks (unix(7), autobind): Kamailio may write to it whatever
    users the two run as, and no file is left behind. It exists within one network namespace only.
    """

    def __init__(self, url: str) -> None:
        scheme, _, path = url.partition(":")
        path = "/" + path.lstrip("/") if path.startswith("/") else ""
        if scheme != "unix" or not path.strip("/"):
            raise ValueError(f"not unix:/path: {url!r}")
        super().__init__(url)
        self._path = path

    def _open(self) -> socket.socket:
        with contextlib.ExitStack() as on_error:
            opened = on_error.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            opened.bind("")
            opened.connect(self._path)
            on_error.pop_all()
        return opened


class UdpTransport(DatagramTransport):
    """To a UDP port. The socket is connected: others' datagrams do not reach it, and nobody there shows at once."""

    def __init__(self, url: str) -> None:
        scheme, _, address = url.partition(":")
        match = UDP_ADDRESS.fullmatch(address)
        if scheme != "udp" or match is None or not 0 < int(match["port"]) < 65536:
            raise ValueError(f"not udp:host:port, IPv6 in brackets: {url!r}")
        super().__init__(url)
        self._address = (match["host6"] or match["host"], int(match["port"]))

    def _open(self) -> socket.socket:
        found = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)
        # Kamailio, given a name, takes its IPv4 address if it has one
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        with contextlib.ExitStack() as on_error:
            opened = on_error.enter_context(socket.socket(family, kind, protocol))
            opened.connect(address)
            on_error.pop_all()
        return opened
