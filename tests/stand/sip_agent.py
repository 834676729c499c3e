"""The base of every SIP user agent of the stand: it sends one request at a time and answers the proxy's requests.

`phone` adds REGISTER.
"""

import contextlib
import queue
import secrets
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from tests.stand.sip import MalformedMessage, Request, Response, host_port, parse
from tests.stand.sip_transport import Address, Connection, TransportName, open_connection

T1 = 0.5
"""Seconds until the first retransmission over UDP (timer E, RFC 3261 section 17.1.2.2)."""
T2 = 4.0
"""Longest pause between two retransmissions, in seconds."""
TIMER_F = 64 * T1
"""Seconds until a request without a final response has failed."""

KEPT = 1000
"""Number of the proxy's requests that are kept. The oldest are dropped."""

ANSWERS: dict[str, tuple[int, str] | None] = {
    "ACK": None,
    "BYE": (481, "Call/Transaction Does Not Exist"),
    "CANCEL": (481, "Call/Transaction Does Not Exist"),
    "INVITE": (486, "Busy Here"),
    "MESSAGE": (200, "OK"),
    "NOTIFY": (200, "OK"),
    "OPTIONS": (200, "OK"),
}
"""The answer to each method; None means no answer. Other methods get 405."""


class NoAnswer(TimeoutError):
    """No route, no listener, a lost connection, or no final response in time."""


class Agent:
    """A connection to the proxy, opened when needed, with client transactions and answers to requests.

    Args:
        proxy: host and port to send to; IPv6 without brackets.
        transport: `udp`, `tcp` or `ws`.
        timeout: seconds until `NoAnswer`, for one request and its response.

    `received` holds the proxy's requests, oldest first. `answers` maps methods to answers; it begins as ANSWERS and
    may be changed. `strays` counts messages that no waiting request expected. `local_address` returns host and port
    for each new connection, or None for the kernel's choice; it may be replaced. All methods may be called from any
    thread. Close the agent, or use it as a context manager.
    """

    def __init__(self, *, proxy: tuple[str, int], transport: TransportName, timeout: float) -> None:
        self.proxy, self.transport, self.timeout = proxy, transport, timeout
        self.received: list[Request] = []
        self.answers = dict(ANSWERS)
        self.strays = 0
        self.local_address: Callable[[], Address | None] = lambda: None
        self._tag = secrets.token_hex(4)
        self._connection: Connection | None = None
        self._busy = threading.RLock()
        self._news = threading.Condition()
        self._unclaimed: list[Request] = []
        self._waiting: dict[tuple[str, str], queue.SimpleQueue[Response | None]] = {}
        self._answered: dict[tuple[str, str], bytes] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} by {self.transport} to {host_port(*self.proxy)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def lost(self) -> bool:
        """Whether the proxy closed the connection since the last exchange. The next exchange opens a new one."""
        connection = self._connection
        return connection is not None and connection.lost

    @property
    def local(self) -> tuple[str, int]:
        """Our own address and port. Connects first if necessary; raises NoAnswer."""
        return self._connect().local

    def wait_for_request(self, method: str, timeout: float = 5.0) -> Request:
        """Return the oldest request of this method that no earlier call returned.

        Raises TimeoutError if none comes in `timeout` seconds.
        """

        def oldest() -> Request | None:
            return next((each for each in self._unclaimed if each.method == method), None)

        with self._news:
            found = self._news.wait_for(oldest, timeout)
            if found is None:
                seen = [each.method for each in self.received]
                raise TimeoutError(f"{self!r}: no {method} in {timeout} s; received: {seen}")
            self._unclaimed.remove(found)
            return found

    def close(self) -> None:
        """Close the connection. The next request opens a new one."""
        with self._busy:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connect(self) -> Connection:
        with self._busy:
            if self.lost:
                self.close()
            if self._connection is None:
                try:
                    self._connection = open_connection(
                        self.transport,
                        self.proxy,
                        on_message=self._take,
                        on_lost=self._give_up,
                        local=self.local_address(),
                    )
                except OSError as error:
                    raise NoAnswer(f"{self!r}: {error}") from error
            return self._connection

    def _transact(self, make: Callable[[Connection], Request], wait: float) -> tuple[Request, Response]:
        """Send one request and return it with its final response.

        If the proxy had closed an old connection, the request is sent again on a new one. `make` builds a new request
        (branch, CSeq) for each attempt. Raises NoAnswer.
        """
        with self._busy:
            attempts = 1 if self._connection is None or self._connection.lost else 2
            for _ in range(attempts):
                connection = self._connect()
                request = make(connection)
                response = self._attempt(connection, request, wait)
                if response is not None:
                    return request, response
                self.close()
            raise NoAnswer(f"{self!r}: the connection was lost before the response")

    def _attempt(self, connection: Connection, request: Request, wait: float) -> Response | None:
        """Return the final response, or None if the connection was lost. Raises NoAnswer after `wait` seconds."""
        data = request.encode()
        inbox: queue.SimpleQueue[Response | None] = queue.SimpleQueue()
        key = (request.branch, request.method)
        self._waiting[key] = inbox
        deadline, pause = monotonic() + wait, T1
        try:
            connection.send(data)
            while (left := deadline - monotonic()) > 0:
                try:
                    response = inbox.get(timeout=left if connection.reliable else min(pause, left))
                except queue.Empty:
                    if not connection.reliable:
                        connection.send(data)
                        pause = min(2 * pause, T2)
                else:
                    if response is None or response.status >= 200:
                        return response
                    pause = T2  # "Proceeding", RFC 3261 section 17.1.2.2
        except OSError as error:
            if connection.reliable:
                return None
            raise NoAnswer(f"{self!r}: {error}") from error
        finally:
            self._waiting.pop(key, None)
        raise NoAnswer(f"{self!r}: no final response to {request.method} in {wait} s")

    def _give_up(self) -> None:
        for inbox in list(self._waiting.values()):
            inbox.put(None)

    def _take(self, connection: Connection, data: bytes, source: Address) -> None:
        """Handle a message that arrived. Runs in the connection's reader thread."""
        try:
            message = parse(data)
            _, method = message.cseq
        except MalformedMessage:
            self.strays += 1
            return
        if isinstance(message, Request):
            self._answer(connection, message, source)
            return
        key = (message.branch, method)  # RFC 3261 section 17.1.3; a final response ends the transaction
        inbox = self._waiting.pop(key, None) if message.status >= 200 else self._waiting.get(key)
        if inbox is None:
            self.strays += 1
        else:
            inbox.put(message)

    def _answer(self, connection: Connection, request: Request, source: Address) -> None:
        key = (request.branch, request.method)
        again = key in self._answered
        if not again:
            self._answered[key] = self._answer_to(request)
            if len(self._answered) > KEPT:
                del self._answered[next(iter(self._answered))]
        if self._answered[key]:
            with contextlib.suppress(OSError):  # the connection is gone, so there is nobody to answer
                connection.send(self._answered[key], to=source or None)
        if not again:
            with self._news:
                self.received.append(request)
                self._unclaimed.append(request)
                del self.received[:-KEPT], self._unclaimed[:-KEPT]
                self._news.notify_all()

    def _answer_to(self, request: Request) -> bytes:
        answer = self.answers.get(request.method, (405, "Method Not Allowed"))
        if answer is None:
            return b""
        allow = [("Allow", ", ".join(self.answers))] if answer[0] == 405 or request.method == "OPTIONS" else []
        return request.answer(*answer, to_tag=self._tag, more=allow).encode()
