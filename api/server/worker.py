"""gunicorn's worker: it stops without a reset, and answers unreadable requests in the envelope as well.

gunicorn answers those in HTML, and closes a connection that still sends after 64 KiB, which loses the answer.
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
    """The worker of `registrations-api serve`, or of ``gunicorn --worker-class api.server.worker.EnvelopeWorker``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A client may send SCRIPT_NAME through a proxy, which would change its path. Nothing here uses the scheme, so
        # headers that contradict each other about it are no error.
        self.cfg.set("forwarder_headers", "")
        self.cfg.set("secure_scheme_headers", {})
        self.cfg.set("sendfile", False)  # `Outgoing` buffers what the client does not read yet

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what could not be read as a request, or what failed outside the application.

        Args:
            req: the request, None when it could not be read.
            client: where the answer goes; gunicorn closes it afterwards.
            addr: the client's address, empty on a UNIX socket.
            exc: what happened.
        """
        address = addr[0] if addr else ""
        # Without the text of the error, which may contain the query and so a token.
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
        """Start or stop accepting connections, for a while or because this worker stops."""
        super().set_accept_enabled(enabled)
        self._accept_the_last()

    def notify(self) -> None:
        """Tell the arbiter that this worker lives. The main loop does so every second, also while it stops."""
        super().notify()
        self._accept_the_last()

    def is_parent_alive(self) -> bool:
        """Whether the main loop goes on. Without its arbiter a worker stops as if it had got SIGTERM."""
        if not super().is_parent_alive():
            self.alive = False  # and nothing else sets it: SIGTERM may come at any time
        return bool(self.alive)

    def _accept_the_last(self) -> None:
        """Once this worker stops, accept what the kernel has in its queue and close the listeners.

        The arbiter and every worker have a copy of each listener. When the last copy is closed, newcomers are refused;
        when only this worker stops, the others go on. `api.server.arbiter` says what becomes of clients that come
        between the last look and the close. A listener is never shut down: systemd, or the server that replaces this
        one, has it as well.
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
