"""gunicorn's worker, and what it answers itself: requests that never reach the application, in the envelope as well.

gunicorn has HTML for these, and closes a connection that still sends after 64 KiB, which loses the answer on its way.
"""

import logging
import socket
from contextlib import suppress
from typing import Any, cast

from flask import Flask
from gunicorn.http.errors import ParseException
from werkzeug.http import http_date

from api.errors import answer_unread
from api.server.threads import PatientWorker

log = logging.getLogger(__name__)


class EnvelopeWorker(PatientWorker):
    """The server's; for ``gunicorn --worker-class api.server.worker.EnvelopeWorker``, too."""

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
            client.sendall(f"HTTP/1.1 {response.status}\r\n{head}\r\n".encode("latin-1") + response.get_data())

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Begin or cease to accept, for a while or because we are to stop."""
        super().set_accept_enabled(enabled)
        self._accept_the_last()

    def notify(self) -> None:
        """Tell the arbiter that we live, which the main loop does every second, also while we stop."""
        super().notify()
        self._accept_the_last()

    def is_parent_alive(self) -> bool:
        """Whether the arbiter is; without it this worker stops as by SIGTERM."""
        self.alive = self.alive and super().is_parent_alive()
        return self.alive

    def _accept_the_last(self) -> None:
        """When we are to stop, take what the kernel has accepted and close our listeners: who comes later is refused.

        The arbiter closes its own before it tells us to stop, and so does each worker. When only we stop, others go on.
        For what may come between the last look and the close see `api.server.arbiter`.
        A listener is never shut down: systemd has it, too, and the server that replaces this one.
        """
        if self.alive or self._accepting:  # type: ignore[attr-defined]  # gunicorn's
            return
        listener: Any
        for listener in self.sockets:
            while listener.sock is not None and self.nr_conns < self.worker_connections:
                before = self.nr_conns
                self.accept(listener)
                if self.nr_conns == before:  # there was none
                    listener.close()
