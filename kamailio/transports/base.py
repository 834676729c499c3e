"""What every way by which JSON-RPC reaches Kamailio has in common: requests go in, bytes of answers come out.

A transport matches nothing and reads no result; `kamailio.rpc` does. `kamailio.transports.by_url` chooses one by URL.
"""

from __future__ import annotations

import json
import time
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """One JSON-RPC request, not yet in the form that its transport wants."""

    id: int
    method: str
    params: tuple[object, ...]

    def encode(self, **more: str) -> bytes:
        """Return it as JSON; surrogates (PEP 383) become the bytes that they stand for.

        Args:
            more: further members of the object.
        """
        # registrations.cfg wants "method" after nothing but "jsonrpc" and "id"
        request = {"jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params, **more}
        return json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogateescape")


class Answer(NamedTuple):
    """What came back.

    Attributes:
        request_id: of the request that it answers, where the way itself tells, as HTTP does.
        status: what the way itself says of it, such as ` (HTTP 404 Not Found)`; empty otherwise.
    """

    body: bytes
    request_id: int | None = None
    status: str = ""


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

    def send(self, request: Request, *, deadline: float) -> None:
        """Hand over one request.

        Args:
            request: its id is in the answer.
            deadline: on the clock of `time.monotonic`.

        Raises:
            NotCarried: this way cannot take such a request; nothing was sent, the connection is as it was.
            KamailioUnreachable: nobody takes it before the deadline.
        """

    def receive(self, *, deadline: float) -> Answer:
        """Return the next answer, to whichever request.

        Raises:
            KamailioUnreachable: none came before the deadline, or the connection broke.
        """
        ...

    def close(self) -> None:
        """Drop the connection, and with it the answers that are still under way."""


def remaining(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises:
        TimeoutError: there are none.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def reason(error: Exception) -> str:
    """Return what to tell an operator about a connection's error."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
