"""gunicorn's worker, and what it answers itself: requests that never reach the application, in the envelope as well.

gunicorn has HTML for these, and closes a connection that still sends after 64 KiB, which loses the answer on its way.
"""

import logging
import socket
from contextlib import suppress
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
    """Threads, as gunicorn's own; for ``gunicorn --worker-class api.worker.EnvelopeWorker``, too."""

    def enqueue_req(self, conn: TConn) -> None:
        """Note since when a connection waits for a thread."""
        conn.waits_since = monotonic()  # type: ignore[attr-defined]  # a note, read below
        super().enqueue_req(conn)

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
        goes_on = super().handle(conn)
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
