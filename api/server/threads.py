"""gunicorn's worker with threads, none of which waits for a slow client.

A connection is in one of these states. Only in the fourth does it hold a thread; in the others it costs a file
descriptor and what is buffered.

    silent       has never sent anything                  gunicorn's `pending_conns`, for `api_request_timeout`
    receiving    has sent a part of a request             `_incoming`, for `api_request_timeout`
    waiting      its request is complete                  the queue of gunicorn's threads; see `api.server.waiting`
    at work      a thread answers it                      as long as that takes
    taking       has the rest of the response to read     `_taking`, for `api_request_timeout` after each part
    kept alive   has its response, may ask again          gunicorn's `keepalived_conns`, for `api_keepalive`
    lingering    has its response, is being closed        `_lingering`, for LINGER_SECONDS
"""

import logging
import socket
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from selectors import EVENT_READ, EVENT_WRITE
from time import monotonic
from typing import Any, cast

from flask import Flask
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from api.extensions import settings_of
from api.outgoing import Outgoing
from api.server.incoming import CONTINUE, Incoming, Received
from api.server.waiting import waited

RECEIVE_BYTES = 1 << 16
# For all incomplete requests together. Beyond that the oldest is given up.
INCOMING_BYTES = 32 << 20
# Clients that are slow to read a response, each perhaps with a temporary file. Beyond that the slowest is given up.
TAKING_CONNECTIONS = 64
# What a client may still send after its response, for how long, and how many clients may do so at a time.
LINGER_BYTES = 16 << 20
LINGER_SECONDS = 2.0
LINGER_CONNECTIONS = 100

log = logging.getLogger(__name__)


@dataclass
class _Lingering:
    """Until when a client may send, and how many bytes more."""

    until: float
    bytes: int


class PatientWorker(ThreadWorker):
    """Speaks HTTP/1.1 without TLS. It adds `received`, `waits_since` and `is_read` to gunicorn's connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incoming: dict[Any, Incoming] = {}
        self._taking: dict[Any, float] = {}  # until when; the client that read last is last
        self._lingering: dict[Any, _Lingering] = {}

    @property
    def _patience(self) -> float:
        return settings_of(cast(Flask, self.wsgi)).api_request_timeout

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse TLS and other protocols."""
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.protocol != "http" or cfg.proxy_protocol != "off":
            raise SystemExit(f"{cls.__name__} speaks HTTP/1.1 without TLS: put a reverse proxy in front of it")

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection to a thread once its request is complete."""
        if not conn.initialized and not conn.data_ready:
            if conn.sock.family != socket.AF_UNIX:
                # The kernel closes the connection of a client that has vanished (tcp(7)).
                conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._patience * 1000))
            conn.sock = Outgoing(conn.sock)
            conn.timeout = monotonic() + self._patience
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))
            return
        conn.sock.setblocking(False)
        begun = conn.parser.unreader.take_buffered() if conn.initialized else b""
        most = settings_of(cast(Flask, self.wsgi)).api_max_body
        incoming = Incoming(begun, most=most, until=monotonic() + self._patience)
        if incoming.is_whole():
            self._give_to_thread(conn, incoming)
            return
        self._incoming[conn] = incoming
        self.poller.register(conn.sock, EVENT_READ, partial(self._receive, conn))
        self._receive(conn, conn.sock)

    def _receive(self, conn: Any, client: socket.socket) -> None:
        incoming = self._incoming[conn]
        data = _taken(client)
        if data is None:
            return
        incoming.bytes += data
        if not data or incoming.is_whole():
            self._end_receiving(conn)
        elif incoming.wants_continue():
            with suppress(OSError):
                client.send(CONTINUE)

    def _end_receiving(self, conn: Any) -> None:
        """Give what has arrived to a thread, complete or not."""
        incoming = self._incoming.pop(conn)
        self.poller.unregister(conn.sock)
        if incoming.bytes:
            self._give_to_thread(conn, incoming)
        else:
            self._close(conn)

    def _give_to_thread(self, conn: Any, incoming: Incoming) -> None:
        conn.received, conn.waits_since = Received(incoming), monotonic()
        super().enqueue_req(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: Any) -> bool:
        """Answer a request, in a thread; returns whether the connection may be used for another one."""
        waited.set(monotonic() - conn.waits_since)
        conn.init()
        conn.parser.unreader = conn.received
        goes_on = bool(super().handle(conn))
        conn.is_read = _is_read(conn)
        return goes_on and conn.is_read

    def finish_request(self, conn: Any, fs: "Future[Any]") -> None:
        """Continue with a connection whose thread is done. gunicorn would block the main loop here."""
        if conn.sock.has_left and conn.sock.fileno() >= 0:
            self._taking[conn] = monotonic() + self._patience
            self.poller.register(conn.sock, EVENT_WRITE, partial(self._send, conn, fs))
            return
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
            return
        with suppress(OSError):
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            if not conn.is_read or _has_more(conn.sock):
                self._linger(conn)
                return
        self._close(conn)

    def _send(self, conn: Any, fs: "Future[Any]", client: Outgoing) -> None:
        try:
            over = client.send_left()
        except BlockingIOError:
            return
        except OSError:
            self._end_taking(conn)
            return
        del self._taking[conn]
        if over:
            self.poller.unregister(client)
            self.finish_request(conn, fs)
        else:
            self._taking[conn] = monotonic() + self._patience

    def _end_taking(self, conn: Any) -> None:
        """Give up a client that reads nothing or is gone."""
        log.info(
            "response not read by the client",
            extra={"action": "give_up", "address": conn.client[0] if conn.client else ""},
        )
        del self._taking[conn]
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _linger(self, conn: Any) -> None:
        """Read on for a while: if we closed at once, the kernel could drop the response (RFC 9112, 9.6)."""
        self._lingering[conn] = _Lingering(monotonic() + LINGER_SECONDS, LINGER_BYTES)
        self.poller.register(conn.sock, EVENT_READ, partial(self._drop, conn))

    def _drop(self, conn: Any, client: socket.socket) -> None:
        lingering = self._lingering[conn]
        data = _taken(client)
        if data is None:
            return
        lingering.bytes -= len(data)
        if not data or lingering.bytes < 0:
            self._end_lingering(conn)

    def _end_lingering(self, conn: Any) -> None:
        del self._lingering[conn]
        self.poller.unregister(conn.sock)
        self._close(conn)

    def notify(self) -> None:
        """Tell the arbiter that this worker lives, and give up what takes too long or too much.

        The main loop calls this between two batches of events, at least once a second. Within a batch only the
        connection of the current event may be closed, as another one's event may be next.
        """
        super().notify()
        now = monotonic()
        for conn in [conn for conn, incoming in self._incoming.items() if incoming.until < now]:
            self._end_receiving(conn)
        while sum(map(len, self._incoming.values())) > INCOMING_BYTES:
            self._end_receiving(next(iter(self._incoming)))
        late = [conn for conn, until in self._taking.items() if until < now]
        for conn in late or list(islice(self._taking, max(0, len(self._taking) - TAKING_CONNECTIONS))):
            self._end_taking(conn)
        for conn in [conn for conn, lingering in self._lingering.items() if lingering.until < now]:
            self._end_lingering(conn)
        while len(self._lingering) > LINGER_CONNECTIONS:
            self._end_lingering(next(iter(self._lingering)))
        while self.nr_conns >= self.worker_connections and self._make_room():
            pass

    def _make_room(self) -> bool:
        """Close the oldest connection of the state with the most connections; returns whether there was one."""
        waiting: Any = max(self.pending_conns, self._incoming, self.keepalived_conns, self._lingering, key=len)
        if not waiting:
            return False
        conn = next(iter(waiting))
        if isinstance(waiting, dict):
            del waiting[conn]
        else:
            waiting.popleft()
        self.poller.unregister(conn.sock)
        self._close(conn)
        return True


def _taken(client: socket.socket) -> bytes | None:
    """What has arrived; empty at the end of the connection, None if nothing has arrived yet."""
    try:
        return client.recv(RECEIVE_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _is_read(conn: Any) -> bool:
    """Whether the last request is read to its end, so that another one may follow. Reads what has arrived of it."""
    parser = conn.parser
    if parser.mesg is None or parser.mesg.req_number != parser.req_count:
        return False
    with suppress(OSError, ParseException):
        return bool(parser.finish_body()) and not conn.received.is_short
    return False


def _has_more(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
