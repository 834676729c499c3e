"""JSON-RPC over HTTP, to Kamailio's xhttp."""

from __future__ import annotations

import http.client
import select
from collections.abc import Iterable
from urllib.parse import urlsplit

from kamailio.errors import KamailioUnreachable
from kamailio.transport import Answer, Request, reason, remaining


class HttpTransport:
    """JSON-RPC over HTTP (Kamailio's xhttp), on a few connections that are kept, with one request at a time on each.

    A removal waits for PostgreSQL's disk, and commits of the same moment share one wait: so several connections, each
    of which Kamailio serves by another of its TCP workers. The second is not made before two requests are under way.
    """

    window = 4  # as many TCP workers as kamailio.cfg has; a phone on TCP shares one of them

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.port is None:
            raise ValueError(f"not http://host:port/path: {url!r}")
        self.url = url
        self._address = (parts.hostname, parts.port)
        self._path = parts.path or "/"
        self._idle: list[http.client.HTTPConnection] = []
        self._under_way: dict[int, tuple[http.client.HTTPConnection, int]] = {}  # by file descriptor

    def send(self, request: Request, *, deadline: float) -> None:
        """POST the request; see `Transport.send`.

        A kept connection that Kamailio has closed meanwhile is noticed before anything is written, and replaced. A
        connection that breaks later is not tried again: the request may have been carried out.
        """
        connection = self._idle.pop() if self._idle else http.client.HTTPConnection(*self._address)
        try:
            descriptor = _freshen(connection, deadline)
            self._under_way[descriptor] = connection, request.id
            connection.request("POST", self._path, request.encode(), {"Content-Type": "application/json"})
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.close()
            raise KamailioUnreachable(self.url, reason(error)) from error

    def receive(self, *, deadline: float) -> Answer:
        """Return the body of the answer that comes next, whatever its status; see `Transport.receive`.

        Kamailio repeats the error of the body in the status line, so the status adds nothing.
        """
        if not self._under_way:
            raise KamailioUnreachable(self.url, "nothing was sent")
        try:
            descriptor = _readable(self._under_way, seconds=remaining(deadline))
            if descriptor is None:
                raise TimeoutError
            connection, request_id = self._under_way[descriptor]
            sock = connection.sock  # http.client lets go of it when the answer says "close"
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
        del self._under_way[descriptor]
        self._idle.append(connection)
        return Answer(bytes(body), request_id)

    def close(self) -> None:
        """Close the connections; see `Transport.close`."""
        for connection in (*self._idle, *(each for each, _ in self._under_way.values())):
            connection.close()
        self._idle.clear()
        self._under_way.clear()


def _freshen(connection: http.client.HTTPConnection, deadline: float) -> int:
    """Connect it if it is not, or not any more; returns its file descriptor."""
    if connection.sock is not None and _readable([connection.sock.fileno()], seconds=0) is not None:
        connection.close()  # nothing is owed to us: what can be read is the end
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
