"""JSON-RPC over HTTP, to Kamailio's xhttp."""

from __future__ import annotations

import http.client
import select
import socket
from urllib.parse import urlsplit

from kamailio.errors import KamailioUnreachable
from kamailio.transport import Request, reason, remaining


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

    def send(self, request: Request, *, deadline: float) -> None:
        """POST the request; see `Transport.send`.

        A kept connection that Kamailio has closed meanwhile is noticed before anything is written, and replaced. A
        connection that breaks later is not tried again: the request may have been carried out.
        """
        try:
            connection = self._fresh_connection(deadline)
            connection.request("POST", self._path, request.encode(), {"Content-Type": "application/json"})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error

    def receive(self, *, deadline: float) -> bytes:
        """Return the body of the answer, whatever its status; see `Transport.receive`.

        Kamailio repeats the error of the body in the status line, so the status adds nothing.
        """
        connection = self._connection
        if connection is None or connection.sock is None:
            raise KamailioUnreachable(self.url, "nothing was sent")
        sock = connection.sock  # http.client lets go of it when the answer says "close"
        try:
            sock.settimeout(remaining(deadline))
            with connection.getresponse() as response:
                body = bytearray()
                while response.length:  # Kamailio always tells it
                    sock.settimeout(remaining(deadline))
                    part = response.read1(response.length)
                    if not part:
                        raise http.client.IncompleteRead(bytes(body), response.length)
                    body += part
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error
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
        connection.timeout = remaining(deadline)
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(remaining(deadline))
        return connection


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
