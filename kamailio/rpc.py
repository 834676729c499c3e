"""The one JSON-RPC client: requests out, answers matched by id, within a deadline.

Owns the protocol as Kamailio speaks it (module jsonrpcs); knows no usrloc and no way of transport.
"""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from kamailio.errors import KamailioError, KamailioUnreachable, NotCarried, RpcError, RpcProtocolError, UnnamedError
from kamailio.transports.base import Request, Transport

log = logging.getLogger(__name__)

# An answer is known by its id alone, so nobody must be able to guess it: other users of this machine may write into a
# reply FIFO. Kamailio holds ids as doubles.
LARGEST_ID = 2**53


class Call(NamedTuple):
    """A method and its arguments, by position."""

    method: str
    params: tuple[object, ...] = ()


class Observation(NamedTuple):
    """What became of a call.

    Attributes:
        id: of the request.
        seconds: from sending, or queueing for it, to the answer, or until it was given up.
        failure: the class of what went wrong, such as `RpcError`; None for a result.
    """

    id: int
    method: str
    seconds: float
    failure: str | None


Observer = Callable[[Observation], None]


class JsonRpcClient:
    """Calls Kamailio. A context manager; not to be shared between threads.

    Never sends a batch: Kamailio executes nothing of it and answers as if it had.
    """

    def __init__(self, transport: Transport, *, timeout: float = 3.0, observe: Observer | None = None) -> None:
        """Connect nothing yet.

        Args:
            transport: see `kamailio.transports.by_url.transport_for`.
            timeout: seconds for one `call`.
            observe: is told of every call that was sent, or should have been.
        """
        self._observe = observe
        self._transport = transport
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def window(self) -> int:
        """How many calls may be under way at once."""
        return self._transport.window

    @property
    def url(self) -> str:
        """Where the calls go."""
        return self._transport.url

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        self._transport.close()

    def call(self, method: str, *params: object) -> object:
        """Call one method and return its result.

        Text comes back as Kamailio holds it: bytes that are no UTF-8 are surrogates (PEP 383), and go out as the same
        bytes again.

        Raises:
            KamailioUnreachable: no answer within the client's timeout.
            RpcError: Kamailio refuses or failed; `NotCarried`: it was not asked.
            RpcProtocolError: an answer that is none.
        """
        (result,) = self.call_many([Call(method, params)], budget=self._timeout)
        if isinstance(result, RpcError):
            raise result
        return result

    def call_many(self, calls: Iterable[tuple[str, tuple[object, ...]]], *, budget: float) -> list[object | RpcError]:
        """Call many methods, several under way at once where the transport can; no order of execution is promised.

        Args:
            calls: `Call`s, or pairs of a method and a tuple of its arguments.
            budget: seconds for all of them together.

        Returns:
            In the order of the calls, each one's result or its RpcError (`NotCarried`: it was not asked).

        Raises:
            KamailioUnreachable: the budget is used up or the connection broke; it says how many were answered.
            RpcProtocolError: an answer that is none.
        """
        deadline = time.monotonic() + budget
        queue = [Call(*call) for call in calls]
        results: list[object | RpcError] = [None] * len(queue)
        waiting = iter(enumerate(queue))
        under_way: dict[int, int] = {}
        open_since: dict[int, tuple[int, float]] = {}
        answered = 0
        try:
            while answered < len(queue):
                for index, call in itertools.islice(waiting, self._transport.window - len(under_way)):
                    request = Request(secrets.randbelow(LARGEST_ID) + 1, *call)
                    open_since[index] = request.id, time.monotonic()
                    try:
                        self._transport.send(request, deadline=deadline)
                    except NotCarried as refusal:
                        results[index] = refusal
                        answered += 1
                        del open_since[index]
                    else:
                        under_way[request.id] = index
                if not under_way:
                    continue
                index, outcome = self._next_answer(under_way, queue, deadline=deadline)
                results[index] = outcome
                answered += 1
                self._tell(queue[index], open_since.pop(index), outcome)
        except (KamailioUnreachable, RpcProtocolError) as error:
            for index, since in open_since.items():
                self._tell(queue[index], since, error)
            self.close()
            if isinstance(error, RpcProtocolError):
                raise
            if len(queue) == 1:
                raise
            raise KamailioUnreachable(self.url, error.reason, answered=answered, asked=len(queue)) from error.__cause__
        return results

    def _tell(self, call: Call, since: tuple[int, float], outcome: object) -> None:
        if self._observe is None and not log.isEnabledFor(logging.DEBUG):
            return
        failure = type(outcome).__name__ if isinstance(outcome, KamailioError) else None
        seen = Observation(since[0], call.method, time.monotonic() - since[1], failure)
        facts = {"rpc_id": seen.id, "method": seen.method, "seconds": round(seen.seconds, 6), "failure": seen.failure}
        log.debug("call ended", extra={"action": "rpc", "url": self.url, **facts})
        if self._observe is not None:
            self._observe(seen)

    def _next_answer(
        self, under_way: dict[int, int], queue: list[Call], *, deadline: float
    ) -> tuple[int, object | RpcError]:
        answer, request_id, status = self._read(deadline=deadline)
        answer_id = answer["id"]
        unnamed = answer_id is None and "error" in answer  # so registrations.cfg refuses over HTTP; jsonrpcs never does
        if unnamed:
            answer_id = request_id
        if type(answer_id) is int and answer_id in under_way:
            index = under_way.pop(answer_id)
        else:
            raise RpcProtocolError(f"{self.url} answered{status} with the id {answer_id!r}, which is none of ours")
        if "error" not in answer:
            return index, answer["result"]
        error = answer["error"]
        if isinstance(error, dict) and isinstance(code := error.get("code", 500), int):
            refused = UnnamedError if unnamed else RpcError
            return index, refused(code, str(error.get("message", "")), queue[index].method)
        raise RpcProtocolError(f"{self.url} answered{status} with an error that is none: {error!r:.200}")

    def _read(self, *, deadline: float) -> tuple[dict[str, object], int | None, str]:
        body, request_id, status = self._transport.receive(deadline=deadline)
        try:
            # Kamailio passes on what phones sent: any byte, and control characters as they are
            answer = json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
        except (ValueError, RecursionError):
            raise RpcProtocolError(f"{self.url} answered{status} with what is no JSON: {body[:80]!r}") from None
        if not isinstance(answer, dict) or "id" not in answer or not ("result" in answer or "error" in answer):
            raise RpcProtocolError(f"{self.url} answered{status} with what is no JSON-RPC: {body[:80]!r}")
        return answer, request_id, status
