"""What all transports of JSON-RPC have in common: requests go in, bytes of answers come out.

A transport does not read results or match them to requests; `kamailio.rpc` does. `kamailio.transports.by_url` chooses
one by URL.
"""

from __future__ import annotations

import json
import time
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """One JSON-RPC request, before its transport encodes it."""

    id: int
    method: str
    params: tuple[object, ...]

    def encode(self, **more: str) -> bytes:
        """Return it as JSON. Surrogates (PEP 383) become their bytes.

        Args:
            more: further members of the object.
        """
        # registrations.cfg accepts only "jsonrpc" and "id" before "method".
        request = {"jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params, **more}
        return json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogateescape")


class Answer(NamedTuple):
    """An answer.

    Attributes:
        request_id: of its request, if the transport itself tells, as HTTP does.
        status: the transport's own result, such as ` (HTTP 404 Not Found)`; otherwise empty.
    """

    body: bytes
    request_id: int | None = None
    status: str = ""


class Transport(Protocol):
    """A connection that is opened when it is first used, and again after an error."""

    @property
    def url(self) -> str:
        """The operator's text, for messages."""
        ...

    @property
    def window(self) -> int:
        """How many requests may wait for an answer at once."""
        ...

    def send(self, request: Request, *, deadline: float) -> None:
        """Send one request.

        Args:
            request: its id is in the answer.
            deadline: of `time.monotonic`.

        Raises:
            NotCarried: the transport cannot carry it. Nothing was sent, and the connection stays open.
            KamailioUnreachable: nobody accepted it before the deadline.
        """

    def receive(self, *, deadline: float) -> Answer:
        """Return the next answer, to any of the requests.

        Raises:
            KamailioUnreachable: none arrived before the deadline, or the connection broke.
        """
        ...

    def close(self) -> None:
        """Close the connection. Answers that have not arrived are lost."""


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
    """Return the text of a connection's error for an operator."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
