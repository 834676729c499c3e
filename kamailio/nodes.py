"""The Kamailio nodes that share the table: how to reach each, and which of them may hold a binding.

Owns the threads and the memory of silent nodes. The caller decides what to do at a node.
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

from kamailio.edges import Edges
from kamailio.errors import KamailioError, KamailioUnreachable
from kamailio.rpc import JsonRpcClient, Observation
from kamailio.settings import LOCAL_NODE, KamailioSettings, parse_rpc
from kamailio.survey import ask_mode, ask_parameter
from kamailio.transports.by_url import transport_for

Result = TypeVar("Result")

# A node may restart with other parameters, so its answer is valid for this long.
TOLD_SECONDS = 60.0
# After a node did not answer, it is not asked about its parameters for this long.
SILENCE_SECONDS = 5.0
# A flush waits for the parameters, so the wait for a silent node is short.
TOLD_TIMEOUT = 1.0
# A node that let a caller wait this long in vain is silent until it answers somebody.
SILENT_AFTER_SECONDS = 0.4


class _Told(NamedTuple):
    """Parameters of a node: db_mode and server_id, None if unknown, and whether server_id_filter is set."""

    mode: int | None = None
    filters: bool = False
    server_id: int | None = None


class Nodes:
    """All nodes of one proxy. Safe to share between threads.

    Attributes:
        ids: server_id of each node; 0 stands for the one node of a setting without server_ids.
        edges: hosts to which a NOTIFY may go although no REGISTER came from there.
    """

    def __init__(
        self, settings: KamailioSettings, *, observe: Callable[[int, Observation], None] | None = None
    ) -> None:
        """Create no connection yet.

        Args:
            settings: URLs of the nodes, timeout, edges.
            observe: called with the node's server_id and the outcome of a call, in the thread of the call. Calls that
                ask for a node's parameters are left out.
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
        """Return the URL of the node's JSON-RPC."""
        return self._urls[node]

    def _connect(self, node: int, *, timeout: float | None, note: Callable[[int, Observation], None]) -> JsonRpcClient:
        transport = transport_for(self._urls[node])
        return JsonRpcClient(transport, timeout=timeout or self._timeout, observe=partial(note, node))

    def _note(self, node: int, seen: Observation) -> None:
        self._note_silence(node, seen)
        if self._observe is not None:
            unreachable = seen.failure == KamailioUnreachable.__name__  # asking it would only take longer
            self._observe(self.server_id(node, ask=not unreachable), seen)

    def _note_silence(self, node: int, seen: Observation) -> None:
        if seen.failure != KamailioUnreachable.__name__:
            self._silent.discard(node)
        elif seen.seconds >= SILENT_AFTER_SECONDS:
            self._silent.add(node)

    def server_id(self, node: int, *, ask: bool = True) -> int:
        """Return the server_id of the node's rows: its number in the setting, or what a node without one says.

        Args:
            node: one of ``ids``.
            ask: whether a node may be asked that has no number and has not said it lately.

        Returns:
            `LOCAL_NODE` if the node has not said it; registrations.cfg knows only KAMAILIO_SERVER_ID.
        """
        if node != LOCAL_NODE:
            return node
        told = self._ask(node) if ask else self._told.get(node, (0.0, _Told()))[1]
        return told.server_id or LOCAL_NODE

    @contextmanager
    def _may_wait(self, node: int) -> Iterator[bool]:
        """Let only one caller at a time wait for a silent node, so that a few clients cannot block all threads."""
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

        usrloc loads every row when it starts, unless server_id_filter is set. So False needs that answer of every node.
        """
        return self._replicated or (len(self.ids) > 1 and not all(self._ask(node).filters for node in self.ids))

    def holders(self, server_id: int | None) -> tuple[int, ...]:
        """Return the nodes that may hold a binding: its own, or all if that is unknown or bindings are replicated.

        Args:
            server_id: of its row; None for an AoR without a known row.
        """
        if server_id is not None and server_id in self._urls and not self.replicated:
            return (server_id,)
        return self.ids

    def on_each(
        self, nodes: Iterable[int], work: Callable[[int, JsonRpcClient], Result], *, timeout: float | None = None
    ) -> dict[int, Result | KamailioError]:
        """Do something at several nodes at once, each in its own thread, so that a dead node delays no other.

        A silent node gives KamailioUnreachable at once if another caller is already waiting for it.

        Args:
            nodes: some of ``ids``.
            work: called with the node and a client of it.
            timeout: seconds for one call; by default the setting.

        Returns:
            For each node the result of ``work``, or the KamailioError that it raised.
        """
        wanted = list(nodes)

        def at(node: int) -> Result | KamailioError:
            try:
                connected = self._connect(node, timeout=timeout, note=self._note)
                with self._may_wait(node) as may_wait, connected as client:
                    if not may_wait:
                        raise KamailioUnreachable(client.url, "it did not answer a moment ago")
                    return work(node, client)
            except KamailioError as error:
                return error

        if len(wanted) == 1:
            return {wanted[0]: at(wanted[0])}
        with ThreadPoolExecutor(max(len(wanted), 1), thread_name_prefix="node") as threads:
            # Each thread has a copy of the caller's context, so that its log messages name the request.
            contexts = [copy_context() for _ in wanted]
            answers = threads.map(lambda context, node: context.run(at, node), contexts, wanted)
            return dict(zip(wanted, answers, strict=True))

    def mode(self, node: int) -> int | None:
        """Return usrloc's db_mode at a node: the setting, or the node's answer.

        Returns:
            1, 2 or 3; None if the node does not answer or does not say (see `kamailio.survey.ask_parameter`).
        """
        return self._ask(node).mode if self._db_mode is None else self._db_mode

    def _ask(self, node: int) -> _Told:
        with self._lock:
            valid_until, known = self._told.get(node, (0.0, _Told()))
        if time.monotonic() < valid_until:
            return known
        valid_for = SILENCE_SECONDS  # keep the last answer; a node that is loading gives none
        try:
            timeout = min(self._timeout, TOLD_TIMEOUT)
            connected = self._connect(node, timeout=timeout, note=self._note_silence)
            with self._may_wait(node) as may_wait, connected as client:
                if not may_wait:
                    return known
                filters, server_id = (ask_parameter(client, name) for name in ("server_id_filter", "server_id"))
                known = _Told(ask_mode(client), bool(filters), server_id)
            if known.mode is not None:
                valid_for = TOLD_SECONDS
        except KamailioError:
            pass
        with self._lock:
            self._told[node] = (time.monotonic() + valid_for, known)
        return known

    def write_late(self) -> bool:
        """Whether rows may lag behind memory: a node has db_mode 2, or no node tells its mode."""
        with ThreadPoolExecutor(len(self.ids), thread_name_prefix="node") as threads:
            modes = set(threads.map(self.mode, self.ids)) - {None}
        return not modes or 2 in modes
