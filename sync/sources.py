"""Fetches the sources of registrations from each node of Kamailio, and writes them into the database.

A fetch removes the announcements from Kamailio. So the worker holds a batch until the database has it, and only then
fetches the next one. A crash of the worker loses one batch at most. Kamailio announces these bindings again when they
register more than an hour later.
"""

import logging
from dataclasses import asdict
from threading import Event
from time import monotonic

from kamailio.announcements import Announcement, NotServed, fetch
from kamailio.errors import KamailioError
from kamailio.nodes import Nodes
from kamailio.rpc import JsonRpcClient
from sql.connections.database import Database
from sql.errors import StatementFailed
from sql.registrations.sources import Source, write_sources
from sync.settings import SyncSettings

# Each element costs worker, Kamailio and PostgreSQL some 0.4 ms together. When all phones registered at once and the
# worker fetched without a pause, Kamailio took an eighth fewer REGISTERs a second. So the queue waits; it has room for
# half a minute of that.
BATCH = 100
PAUSE_SECONDS = 0.4
# Time limit of one batch. Over kamctl that is about ten elements; the others wait in Kamailio.
FETCH_SECONDS = 1.0
# A Kamailio without the queue logs an error for each request.
NOT_SERVED_SECONDS = 60.0

log = logging.getLogger(__name__)


class Sources:
    """The sources at one node. Retries an unreachable node with back-off."""

    def __init__(self, database: Database, nodes: Nodes, settings: SyncSettings, *, node: int) -> None:
        self._database = database
        self._nodes = nodes
        self._node = node
        self._longest_pause = settings.sync_flush_longest_pause
        self._held: dict[str, Announcement] = {}
        self._held_since = 0.0
        self._not_before = 0.0
        self._pause = 0.0
        self._told = ""

    def run(self, *, stopping: Event) -> dict[str, int]:
        """Fetch and write batches until the node's queue is empty, with a pause after each.

        Returns:
            The number of rows written.

        Raises:
            DatabaseUnreachable: the next run writes the batch.
        """
        written, fetched = self._write(), BATCH
        while fetched and not stopping.is_set() and monotonic() >= self._not_before:
            self._held_since = monotonic()
            answer = self._nodes.on_each([self._node], self._fetch)[self._node]
            fetched = 0 if isinstance(answer, KamailioError) else answer
            self._note(answer if isinstance(answer, KamailioError) else None)
            written += self._write()
            if fetched == BATCH:
                stopping.wait(PAUSE_SECONDS)
        return {"sources_written": written}

    def _fetch(self, _: int, client: JsonRpcClient) -> int:
        fetched = 0
        for announcement in fetch(client, limit=BATCH, budget=FETCH_SECONDS):
            self._held[announcement.ruid] = announcement
            fetched += 1
        return fetched

    def _write(self) -> int:
        if not self._held:
            return 0
        held, age = [Source(**asdict(each)) for each in self._held.values()], monotonic() - self._held_since
        try:
            with self._database.connection() as connection:
                written = write_sources(connection, held, age=age)
        except StatementFailed:
            self._held.clear()  # a retry would block every later batch
            raise
        self._held.clear()
        return written

    def _note(self, error: KamailioError | None) -> None:
        facts = {"action": "fetch", "server_id": self._nodes.server_id(self._node)}
        if error is None:
            if self._told:
                log.info("registration sources available again", extra=facts)
            self._told, self._pause = "", 0.0
            return
        if isinstance(error, NotServed):
            said = "registration sources not served: registrations.cfg is outdated or not loaded"
            self._pause = NOT_SERVED_SECONDS
        else:
            said = "node unreachable, registration sources delayed"
            self._pause = min(max(self._pause, 0.5) * 2, self._longest_pause)
        self._not_before = monotonic() + self._pause
        if said != self._told:
            self._told = said
            log.warning(said, extra={**facts, "cause": str(error)})
