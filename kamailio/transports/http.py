"""JSON-RPC over HTTP, to Kamailio's xhttp."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import select
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from kamailio.errors import KamailioUnreachable
from kamailio.transports.base import Answer, Request, reason, remaining

LOOPBACK_SOURCE = "127.0.0.2"
"""Source address of our connections to a Kamailio at 127.0.0.0/8. The kernel never chooses it by itself.

Kamailio 5.6 finds a phone's connection by the phone's address and port only, not by its own port. If two connections
share them, it finds the newer one, and neither after that one is closed (core/tcp_main.c, _tcpconn_add_alias_unsafe).
Phones come from 127.0.0.1 if a TLS or WebSocket proxy runs on this machine. A connection of ours from there, with the
port of such a phone, would cut it off from calls and NOTIFYs until it connects again.
"""

LARGEST_ANSWER = 64 * 2**20
"""Bytes; an AoR with 50,000 phones needs less. Another user of this machine may answer while Kamailio is down."""

FORBIDDEN = (403, "Forbidden")
"""Refusal of a client's address, by registrations.cfg and by Debian's kamailio.cfg."""


class HttpTransport:
    """JSON-RPC over HTTP (Kamailio's xhttp), on a few persistent connections with one request at a time on each.

    A removal waits for PostgreSQL's disk, and concurrent commits share one wait. So we use several connections, which
    Kamailio serves in different TCP workers. A second one is opened only when two requests wait at once.
    """

    window = 4  # our kamailio.cfg has as many TCP workers; a phone on TCP shares one of them

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.port is None:
            raise ValueError(f"not http://host:port/path: {url!r}")
        self.url = url
        self._address = (parts.hostname, parts.port)
        self._path = parts.path or "/"
        self._source = LOOPBACK_SOURCE if _is_ipv4_loopback(parts.hostname) else None
        self._idle: list[_Connection] = []
        self._under_way: dict[int, tuple[_Connection, Request]] = {}  # by file descriptor

    def send(self, request: Request, *, deadline: float) -> None:
        """POST the request. See `Transport.send`.

        Replaces an idle connection that Kamailio has closed. If a connection breaks after that, nothing is sent again:
        Kamailio may have executed the request.
        """
        connection = self._idle.pop() if self._idle else _Connection(*self._address, source=self._source)
        try:
            descriptor = _freshen(connection, deadline)
            self._under_way[descriptor] = connection, request
            connection.request("POST", self._path, request.encode(), {"Content-Type": "application/json"})
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error

    def receive(self, *, deadline: float) -> Answer:
        """Return the body of the next answer, whatever its status. See `Transport.receive`.

        Kamailio repeats the body's error in the status line, so the status matters only if another server answers. A
        Kamailio that serves only 127.0.0.1 forbids LOOPBACK_SOURCE; then the request is sent again from 127.0.0.1.
        """
        if not self._under_way:
            raise KamailioUnreachable(self.url, "nothing was sent")
        try:
            descriptor = _readable(self._under_way, seconds=remaining(deadline))
            if descriptor is None:
                raise TimeoutError
            connection, request = self._under_way[descriptor]
            sock = connection.sock  # http.client drops it if the answer says "close"
            sock.settimeout(remaining(deadline))
            with connection.getresponse() as response:
                body = bytearray()
                if (response.length or 0) > LARGEST_ANSWER:
                    raise http.client.HTTPException(f"the answer of {response.length} bytes is too large")
                while response.length:  # Kamailio always sends Content-Length
                    sock.settimeout(remaining(deadline))
                    part = response.read1(response.length)
                    if not part:
                        raise http.client.IncompleteRead(bytes(body), response.length)
                    body += part
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error
        del self._under_way[descriptor]
        if (response.status, response.reason) == FORBIDDEN and connection.source is not None:
            self._source = None
            for each in (connection, *self._idle):
                each.close()
            self._idle.clear()
            self.send(request, deadline=deadline)
            return self.receive(deadline=deadline)
        self._idle.append(connection)
        return Answer(bytes(body), request.id, f" (HTTP {response.status} {response.reason})")

    def close(self) -> None:
        """Close the connections. See `Transport.close`."""
        for connection in (*self._idle, *(each for each, _ in self._under_way.values())):
            connection.close()
        self._idle.clear()
        self._under_way.clear()


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, *, source: str | None) -> None:
        super().__init__(host, port)
        self.source = source

    def connect(self) -> None:
        """Connect, from the source address if there is one and this machine has it."""
        if self.source is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        # Let connect() choose the port: bind() would not reuse one in TIME_WAIT.
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            self.sock.bind((self.source, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            # The loopback interface of some containers has only 127.0.0.1/32.
            self.close()
            self.source = None
            super().connect()
            return
        self.sock.connect((self.host, self.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_ipv4_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:  # a name, or IPv6, whose loopback has only one address
        return False


def _freshen(connection: _Connection, deadline: float) -> int:
    """Connect it if it is not open, or not any more, and return its file descriptor."""
    if connection.sock is not None and _readable([connection.sock.fileno()], seconds=0) is not None:
        connection.close()  # we expect no answer, so readable means closed
    connection.timeout = remaining(deadline)
    if connection.sock is None:
        connection.connect()
    connection.sock.settimeout(remaining(deadline))
    descriptor: int = connection.sock.fileno()
    return descriptor


def _readable(descriptors: Iterable[int], *, seconds: float) -> int | None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(seconds * 1000)
    return ready[0][0] if ready else None
