"""The nodes of Kamailio that share the table: where each serves JSON-RPC, and which of them may hold a binding.

Owns the setting `server_id=URL,...`; what is done at a node is the caller's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, TypeVar

from kamailio.core import version_number
from kamailio.edges import Edges
from kamailio.errors import KamailioError, KamailioUnreachable, RpcError
from kamailio.rpc import JsonRpcClient, Observation
from kamailio.settings import KamailioSettings, parse_rpc
from kamailio.transports.by_url import transport_for

Result = TypeVar("Result")

MODES = (1, 2, 3)
TELLS_PARAMETERS = (6, 1)
# A node may come back in another mode, so what it said is believed for so long.
TOLD_SECONDS = 60.0
# A node that did not answer is not asked again by the next request.
SILENCE_SECONDS = 5.0
# A flush is not promised before it is known, so a node that is silent is not waited for.
TOLD_TIMEOUT = 1.0
# A node that kept somebody waiting for so long, in vain, is silent until it answers somebody.
SILENT_AFTER_SECONDS = 0.4


class _Told(NamedTuple):
    """A node's own usrloc parameters: db_mode, or None if unknown; and whether server_id_filter is set."""

    mode: int | None = None
    filters: bool = False


class Nodes:
    """All nodes of one proxy. Safe to share between threads.

    Attributes:
        ids: server_id of each node; 0 stands for the one node of a setting without server_ids.
        edges: hosts through which a NOTIFY may reach phones.
    """

    def __init__(
        self, settings: KamailioSettings, *, observe: Callable[[int, Observation], None] | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            settings: which nodes there are.
            observe: is told of every call, by the node, in the thread that made it.
        """
        self._observe = observe
        self._urls = parse_rpc(settings.kamailio_rpc)
        self._timeout = settings.kamailio_timeout
        self._db_mode = settings.kamailio_db_mode
        self._replicated = settings.kamailio_replicated
        self._told: dict[int, tuple[float, _Told]] = {}
        self._lock = threading.Lock()
        self._silent: set[int] = set()
        self._probes = {node: threading.Lock() for node in self._urls}
        self.ids = tuple(self._urls)
        self.edges = Edges.parse(settings.kamailio_edges)

    def url(self, node: int) -> str:
        """Where the node serves JSON-RPC."""
        return self._urls[node]

    def connect(self, node: int, *, timeout: float | None = None) -> JsonRpcClient:
        """Return a client of one node; nothing is connected before its first call.

        Args:
            node: one of ``ids``.
            timeout: seconds for one call; the setting's when left out.
        """
        transport = transport_for(self._urls[node])
        return JsonRpcClient(transport, timeout=timeout or self._timeout, observe=partial(self._note, node))

    def _note(self, node: int, seen: Observation) -> None:
        if seen.failure != KamailioUnreachable.__name__:
            self._silent.discard(node)
        elif seen.seconds >= SILENT_AFTER_SECONDS:
            self._silent.add(node)
        if self._observe is not None:
            self._observe(node, seen)

    @contextmanager
    def _may_wait(self, node: int) -> Iterator[bool]:
        """While a node is silent one caller at a time waits for it: else a few clients block all of a server."""
        probes = node in self._silent
        may = not probes or self._probes[node].acquire(blocking=False)
        try:
            yield may
        finally:
            if probes and may:
                self._probes[node].release()

    @property
    def replicated(self) -> bool:
        """Whether each node may hold any binding: the nodes replicate them (dmq_usrloc), or load each other's rows.

        A starting usrloc loads every row unless server_id_filter is set. False requires that every node reports it.
        """
        return self._replicated or (len(self.ids) > 1 and not all(self._ask(node).filters for node in self.ids))

    def holders(self, server_id: int | None) -> tuple[int, ...]:
        """Return the nodes that may hold a binding: its own, or all where that is unknown or bindings are replicated.

        Args:
            server_id: of its row; None for an AoR of which no row is known.
        """
        if server_id is not None and server_id in self._urls and not self.replicated:
            return (server_id,)
        return self.ids

    def on_each(
        self, nodes: Iterable[int], work: Callable[[int, JsonRpcClient], Result], *, timeout: float | None = None
    ) -> dict[int, Result | KamailioError]:
        """Do something at several nodes at once, each in a thread of its own, so that a dead one delays no other.

        A node that is silent is KamailioUnreachable at once, unless nobody else waits for it.

        Args:
            nodes: some of ``ids``.
            work: is given the node and a client of it.
            timeout: seconds for one call; the setting's when left out.

        Returns:
            For each node what ``work`` returned, or the KamailioError that it raised.
        """
        wanted = list(nodes)

        def at(node: int) -> Result | KamailioError:
            try:
                with self._may_wait(node) as may_wait, self.connect(node, timeout=timeout) as client:
                    if not may_wait:
                        raise KamailioUnreachable(client.url, "it was silent a moment ago")
                    return work(node, client)
            except KamailioError as error:
                return error

        if len(wanted) == 1:
            return {wanted[0]: at(wanted[0])}
        with ThreadPoolExecutor(max(len(wanted), 1), thread_name_prefix="node") as threads:
            # In a copy of the caller's context each, so that what they log says for whom it was.
            contexts = [copy_context() for _ in wanted]
            answers = threads.map(lambda context, node: context.run(at, node), contexts, wanted)
            return dict(zip(wanted, answers, strict=True))

    def mode(self, node: int) -> int | None:
        """Return usrloc's db_mode at a node: the setting's, or what the node says.

        Returns:
            1, 2 or 3; None when the node cannot be asked or does not say (see `ask_parameter`).
        """
        return self._ask(node).mode if self._db_mode is None else self._db_mode

    def _ask(self, node: int) -> _Told:
        with self._lock:
            believed_until, known = self._told.get(node, (0.0, _Told()))
        if time.monotonic() < believed_until:
            return known
        believed_for = SILENCE_SECONDS  # keep its last answer; a node that is loading gives none
        try:
            timeout = min(self._timeout, TOLD_TIMEOUT)
            with self._may_wait(node) as may_wait, self.connect(node, timeout=timeout) as client:
                if not may_wait:
                    return known
                known = _Told(ask_mode(client), bool(ask_parameter(client, "server_id_filter")))
            if known.mode is not None:
                believed_for = TOLD_SECONDS
        except KamailioError:
            pass
        with self._lock:
            self._told[node] = (time.monotonic() + believed_for, known)
        return known

    def write_late(self) -> bool:
        """Whether rows may lag behind memory: a node runs in db_mode 2, or none of them says how it runs."""
        with ThreadPoolExecutor(len(self.ids), thread_name_prefix="node") as threads:
            modes = set(threads.map(self.mode, self.ids)) - {None}
        return not modes or 2 in modes


def ask_parameter(client: JsonRpcClient, name: str) -> int | None:
    """Ask a node for a number that it is configured with, such as usrloc's `expires_type`.

    registrations.cfg keeps some in shared variables (module pv). From 6.1 on Kamailio tells usrloc's parameters itself.

    Returns:
        None when it does not say.

    Raises:
        KamailioUnreachable: no answer.
    """
    for ask in (_ask_variable, _ask_usrloc):
        try:
            result = ask(client, name)
        except RpcError:
            continue
        value = str(result.get("value")) if isinstance(result, dict) else ""
        if value.isdecimal():
            return int(value)
    return None


def _ask_variable(client: JsonRpcClient, name: str) -> object:
    return client.call("pv.shvGet", f"registrations_{name}")


def _ask_usrloc(client: JsonRpcClient, name: str) -> object:
    # An older Kamailio logs an ERROR for a command that it does not have.
    number = version_number(client.call("core.version"))
    return client.call("modparam.getn", "usrloc", name) if number and number >= TELLS_PARAMETERS else None


def ask_mode(client: JsonRpcClient) -> int | None:
    """Ask a node for usrloc's db_mode: 1, 2 or 3; None when it does not say, or keeps its bindings in memory alone.

    Raises:
        KamailioUnreachable: no answer.
    """
    mode = ask_parameter(client, "db_mode")
    return mode if mode in MODES else None


def require_loaded(client: JsonRpcClient) -> None:
    """Refuse a node that has just started: while usrloc loads its table, what is not there yet is not gone.

    Raises:
        KamailioUnreachable: it is loading, or does not answer. Without registrations.cfg it counts as ready.
    """
    try:
        result = client.call("pv.shvGet", "registrations_loaded")
    except RpcError:
        return
    if isinstance(result, dict) and str(result.get("value")) == "0":
        raise KamailioUnreachable(client.url, "usrloc is loading its table")
