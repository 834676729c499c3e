"""gunicorn's worker, and what it answers itself: requests that never reach the application, in the envelope as well.

gunicorn has HTML for these, and closes a connection that still sends after 64 KiB, which loses the answer on its way.
"""

import logging
import socket
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from time import monotonic
from typing import Any, cast

from flask import Flask
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker
from werkzeug.http import http_date

from api.errors import answer_unread
from api.waiting import waited

# What a client may still send while it is told that it was too much, and for how long.
LINGER_BYTES = 16 << 20
LINGER_SECONDS = 2.0

log = logging.getLogger(__name__)


class EnvelopeWorker(ThreadWorker):
    """Threads, as gunicorn's own; for ``gunicorn --worker-class api.worker.EnvelopeWorker``, too.

    A thread waits for no client that says nothing, and not for ever for one that says or takes little.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._until: dict[TConn, float] = {}

    @property
    def _patience(self) -> float:
        """Seconds for a client to send a request."""
        return float(cast(Flask, self.wsgi).config["REQUEST_TIMEOUT"])

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to a thread, a new one once something has come; gunicorn has a thread wait for that."""
        if conn.initialized or conn.data_ready or not self.alive:
            conn.waits_since = monotonic()  # type: ignore[attr-defined]  # a note, read below
            super().enqueue_req(conn)
            return
        if conn.sock.family != socket.AF_UNIX:
            # Of an answer something must be taken in that time (tcp(7)).
            conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._patience * 1000))
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def notify(self) -> None:
        """Tell the arbiter that we live, which the main loop does every second, and end reading that takes too long."""
        super().notify()
        now = monotonic()
        for conn in [conn for conn, until in list(self._until.items()) if until < now]:
            self._until.pop(conn, None)
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)  # what the thread waits for ends here; it can still answer

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what could not be read as a request, or what failed outside of the application.

        Args:
            req: the request, None when it could not be read.
            client: where the answer goes; closed afterwards.
            addr: the client's address, empty on a UNIX socket.
            exc: what happened.
        """
        address = addr[0] if addr else ""
        # Without the words of the error, which may hold the query, and so a token.
        facts = {"action": "refuse", "cause": type(exc).__name__, "address": address}
        if req is None and isinstance(exc, ParseException):
            log.warning("request cannot be read", extra=facts)
        elif getattr(getattr(req, "body", None), "failed", False):
            log.warning("rest of a body cannot be read", extra=facts)
            return  # the application has answered
        else:
            log.error("request failed in the server", extra={**facts, "action": "error"}, exc_info=exc)
        response = answer_unread(cast(Flask, self.wsgi), exc if req is None else None)
        response.headers["Connection"] = "close"
        response.headers["Date"] = http_date()
        head = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
        with suppress(OSError):
            client.settimeout(LINGER_SECONDS)
            client.sendall(f"HTTP/1.1 {response.status}\r\n{head}\r\n".encode("latin-1") + response.get_data())

    def handle(self, conn: TConn) -> Any:
        """Work on a request; before its connection is closed the client may finish what it is sending."""
        waited.set(monotonic() - conn.waits_since)  # type: ignore[attr-defined]
        self._until[conn] = monotonic() + self._patience
        try:
            goes_on = super().handle(conn)
        finally:
            self._until.pop(conn, None)
        if goes_on is False:
            _linger(conn.sock)
        return goes_on


def _linger(client: socket.socket) -> None:
    """End our side and read on for a while: closing at once would make the kernel drop the answer (RFC 9112, 9.6)."""
    deadline = monotonic() + LINGER_SECONDS
    read = 0
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while read < LINGER_BYTES and (remaining := deadline - monotonic()) > 0:
            client.settimeout(remaining)
            data = client.recv(1 << 16)
            if not data:
                return
            read += len(data)
