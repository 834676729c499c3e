"""The JSON-RPC client: sends requests, matches answers by id, keeps a deadline.

Owns the protocol as Kamailio speaks it (module jsonrpcs). `kamailio.transports` carries the bytes.
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

# Ids must be hard to guess: other users of this machine may write into a reply FIFO, and only the id shows that an
# answer is Kamailio's. Kamailio keeps ids as doubles.
LARGEST_ID = 2**53


class Call(NamedTuple):
    """A method and its positional arguments."""

    method: str
    params: tuple[object, ...] = ()


class Observation(NamedTuple):
    """The outcome of a call.

    Attributes:
        id: of the request.
        seconds: from the attempt to send it until the answer, or until the client gave up.
        failure: class of the error, such as `RpcError`; None for a result.
    """

    id: int
    method: str
    seconds: float
    failure: str | None


Observer = Callable[[Observation], None]


class JsonRpcClient:
    """Calls Kamailio. A context manager; do not share it between threads.

    Never sends a JSON-RPC batch: Kamailio answers it as a success but executes nothing.

    Attributes:
        timeout: seconds for one `call`.
    """

    def __init__(self, transport: Transport, *, timeout: float = 3.0, observe: Observer | None = None) -> None:
        """Create a client; the first call connects it.

        Args:
            transport: see `kamailio.transports.by_url.transport_for`.
            timeout: seconds for one `call`.
            observe: called after every call that the transport could carry, failed ones included.
        """
        self.timeout = timeout
        self._observe = observe
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def window(self) -> int:
        """How many calls may wait for an answer at once."""
        return self._transport.window

    @property
    def url(self) -> str:
        """URL of Kamailio's JSON-RPC."""
        return self._transport.url

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._transport.close()

    def call(self, method: str, *params: object) -> object:
        """Call one method and return its result.

        Bytes in texts that are not UTF-8 are surrogates (PEP 383), in results and in arguments.

        Raises:
            KamailioUnreachable: no answer within the client's timeout.
            RpcError: Kamailio refused or failed. `NotCarried`: the request was not sent.
            RpcProtocolError: the answer is not a JSON-RPC answer to this request.
        """
        (result,) = self.call_many([Call(method, params)], budget=self.timeout)
        if isinstance(result, RpcError):
            raise result
        return result

    def call_many(self, calls: Iterable[Call], *, budget: float) -> list[object | RpcError]:
        """Call many methods, several at once where the transport can. Kamailio may execute them in any order.

        Args:
            calls: methods with their arguments.
            budget: seconds for all of them together.

        Returns:
            In the order of the calls: the result of each, or its RpcError (`NotCarried`: the request was not sent).

        Raises:
            KamailioUnreachable: the budget is used up or the connection broke. Its text tells how many were answered.
            RpcProtocolError: an answer is not a JSON-RPC answer to one of these requests.
        """
        deadline = time.monotonic() + budget
        queue = list(calls)
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
            if isinstance(error, RpcProtocolError) or len(queue) == 1:
                raise
            progress = f"{error.reason} ({answered} of {len(queue)} calls answered)"
            raise KamailioUnreachable(self.url, progress) from error.__cause__
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
        unnamed = answer_id is None and "error" in answer  # a refusal by registrations.cfg; jsonrpcs sends the id
        if unnamed:
            answer_id = request_id
        if type(answer_id) is int and answer_id in under_way:
            index = under_way.pop(answer_id)
        else:
            raise RpcProtocolError(f"{self.url} answered{status} with id {answer_id!r}, which is none of ours")
        if "error" not in answer:
            return index, answer["result"]
        error = answer["error"]
        if isinstance(error, dict) and isinstance(code := error.get("code", 500), int):
            refused = UnnamedError if unnamed else RpcError
            return index, refused(code, str(error.get("message", "")), queue[index].method)
        raise RpcProtocolError(f"{self.url} answered{status} with a malformed error: {error!r:.200}")

    def _read(self, *, deadline: float) -> tuple[dict[str, object], int | None, str]:
        body, request_id, status = self._transport.receive(deadline=deadline)
        try:
            # Kamailio passes on what phones sent: any byte, and unescaped control characters.
            answer = json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
        except (ValueError, RecursionError):
            raise RpcProtocolError(f"{self.url} answered{status} with no JSON: {body[:80]!r}") from None
        if not isinstance(answer, dict) or "id" not in answer or not ("result" in answer or "error" in answer):
            raise RpcProtocolError(f"{self.url} answered{status} with no JSON-RPC: {body[:80]!r}")
        return answer, request_id, status
