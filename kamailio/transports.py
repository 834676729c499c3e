"""The ways in which JSON-RPC reaches Kamailio: one small class each, chosen by URL.

A transport moves bytes and knows nothing of ids, methods or results; `kamailio.rpc` does. To add one (UDP, FIFO,
kamctl), write its class and name its scheme in `transport_for`.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import time
from typing import Protocol
from urllib.parse import urlsplit

from kamailio.errors import KamailioUnreachable

DATAGRAM_LIMIT = 65536  # jsonrpcs answers nothing above about 65,400 bytes


class Transport(Protocol):
    """A connection that is made when first used, and again after an error."""

    @property
    def url(self) -> str:
        """What an operator wrote, for messages."""
        ...

    @property
    def window(self) -> int:
        """How many requests may be under way before an answer is received."""
        ...

    def send(self, request: bytes, *, deadline: float) -> None:
        """Hand over one request.

        Args:
            request: a whole JSON-RPC request.
            deadline: on the clock of `time.monotonic`.

        Raises:
            KamailioUnreachable: nobody takes it before the deadline.
        """

    def receive(self, *, deadline: float) -> bytes:
        """Return the next answer, of whichever request.

        Raises:
            KamailioUnreachable: none came before the deadline, or the connection broke.
        """
        ...

    def close(self) -> None:
        """Drop the connection, and with it the answers that are still under way."""


class HttpTransport:
    """JSON-RPC over HTTP (Kamailio's xhttp), one request at a time on a connection that is kept."""

    window = 1

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.port is None:
            raise ValueError(f"not http://host:port/path: {url!r}")
        self.url = url
        self._address = (parts.hostname, parts.port)
        self._path = parts.path or "/"
        self._connection: http.client.HTTPConnection | None = None

    def send(self, request: bytes, *, deadline: float) -> None:
        """POST the request; see `Transport.send`.

        A kept connection that Kamailio has closed meanwhile is noticed before anything is written, and replaced. A
        connection that breaks later is not tried again: the request may have been carried out.
        """
        try:
            connection = self._fresh_connection(deadline)
            connection.request("POST", self._path, request, {"Content-Type": "application/json"})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise KamailioUnreachable(self.url, _reason(error)) from error

    def receive(self, *, deadline: float) -> bytes:
        """Return the body of the answer, whatever its status; see `Transport.receive`.

        Kamailio repeats the error of the body in the status line, so the status adds nothing.
        """
        connection = self._connection
        if connection is None or connection.sock is None:
            raise KamailioUnreachable(self.url, "nothing was sent")
        sock = connection.sock  # http.client lets go of it when the answer says "close"
        try:
            sock.settimeout(_remaining(deadline))
            with connection.getresponse() as response:
                body = bytearray()
                while response.length:  # Kamailio always tells it
                    sock.settimeout(_remaining(deadline))
                    part = response.read1(response.length)
                    if not part:
                        raise http.client.IncompleteRead(bytes(body), response.length)
                    body += part
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise KamailioUnreachable(self.url, _reason(error)) from error
        return bytes(body)

    def close(self) -> None:
        """Close the connection; see `Transport.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fresh_connection(self, deadline: float) -> http.client.HTTPConnection:
        connection = self._connection
        if connection is not None and connection.sock is not None and _readable(connection.sock):
            connection.close()  # nothing is owed to us: what can be read is the end
        if connection is None:
            connection = self._connection = http.client.HTTPConnection(*self._address)
        connection.timeout = _remaining(deadline)
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(_remaining(deadline))
        return connection


class DatagramTransport:
    """JSON-RPC by unix datagrams, several requests under way at once.

    The reply address is an abstract one that the kernel picks (unix(7), autobind): Kamailio may write to it whatever
    users the two run as, and no file is left behind. It exists within one network namespace only.
    """

    window = 8  # of net.unix.max_dgram_qlen = 10; measured best with dgram_workers=4

    def __init__(self, url: str) -> None:
        scheme, _, path = url.partition(":")
        path = "/" + path.lstrip("/") if path.startswith("/") else ""
        if scheme != "unix" or not path.strip("/"):
            raise ValueError(f"not unix:/path: {url!r}")
        self.url = url
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, request: bytes, *, deadline: float) -> None:
        """Send one datagram, waiting while Kamailio's queue is full; see `Transport.send`."""
        try:
            if self._socket is not None:
                try:
                    self._send(self._socket, request, deadline)
                except ConnectionError:  # Kamailio was restarted, and the datagram taken by nobody
                    self.close()
                else:
                    return
            self._send(self._open(), request, deadline)
        except OSError as error:
            self.close()
            raise KamailioUnreachable(self.url, _reason(error)) from error

    def receive(self, *, deadline: float) -> bytes:
        """Return the next datagram; see `Transport.receive`."""
        if self._socket is None:
            raise KamailioUnreachable(self.url, "nothing was sent")
        try:
            self._socket.settimeout(_remaining(deadline))
            return self._socket.recv(DATAGRAM_LIMIT)
        except OSError as error:
            self.close()
            raise KamailioUnreachable(self.url, _reason(error)) from error

    def close(self) -> None:
        """Close the socket; see `Transport.close`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        with contextlib.ExitStack() as on_error:
            opened = on_error.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            opened.bind("")
            opened.connect(self._path)
            on_error.pop_all()
        self._socket = opened
        return opened

    @staticmethod
    def _send(to: socket.socket, request: bytes, deadline: float) -> None:
        to.settimeout(_remaining(deadline))
        to.send(request)


def transport_for(url: str) -> Transport:
    """Return the transport that a URL names; nothing is connected yet.

    Args:
        url: `http://127.0.0.1:5097/RPC`, or `unix:/run/kamailio/kamailio_rpc.sock` for a datagram socket.

    Raises:
        ValueError: no such transport, or a URL that says too little for it.
    """
    scheme = url.partition(":")[0]
    if scheme == "http":
        return HttpTransport(url)
    if scheme == "unix":
        return DatagramTransport(url)
    raise ValueError(f"no way to reach Kamailio by {url!r}: give http://host:port/RPC or unix:/path")


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
