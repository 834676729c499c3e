"""The worker's jobs: enrich, reconcile, fetch, flush, expire. Each works in batches, and stops between two."""

import logging
from collections.abc import Callable
from functools import partial
from threading import Event
from time import monotonic

from kamailio.nodes import Nodes
from sql.access.tokens import expire_tokens
from sql.connections.database import Connection, Database
from sql.directory.subscribers import follow_domains
from sql.flushes.progress import expire_flushes
from sql.registrations.census import Census, take_census
from sql.registrations.sources import expire_sources
from sql.worker.enrichment import enrich, expire_rows, reconcile
from sql.worker.state import WorkerState, find_epoch, find_worker_state
from sync.comparisons import Comparisons
from sync.flush_retries import Flusher
from sync.settings import SyncSettings
from sync.sources import Sources

# No SIP worker waits for these; the limit only keeps a statement short. The remaining rows are already expired.
ROWS_AT_A_TIME = 10_000
# If PostgreSQL's clock jumps forward, valid tokens and flushes seem expired. Nothing is deleted for a day, so that
# somebody can correct the clock.
CLOCK_TOLERANCE_SECONDS = 60.0
CLOCK_REST_SECONDS = 86400.0

log = logging.getLogger(__name__)


class Jobs:
    """The jobs on one database. Each returns the number of rows it wrote, by what it did with them."""

    def __init__(
        self, database: Database, nodes: Nodes, settings: SyncSettings, *, stopping: Event | None = None
    ) -> None:
        self._database = database
        self._settings = settings
        self._flusher = Flusher(database, nodes, settings)
        self._sources = {node: Sources(database, nodes, settings, node=node) for node in nodes.ids}
        self._stopping = stopping or Event()
        self._comparisons = Comparisons()
        self._ahead: float | None = None
        self._keep_until = 0.0

    def enrich(self) -> dict[str, int]:
        """Set account, device and owner on new rows. Rows that a SIP worker has locked wait for the next run."""
        with self._database.connection() as connection:
            return {"enriched": enrich(connection, batch=self._settings.sync_batch, stopping=self._stopping)}

    def reconcile(self) -> dict[str, int]:
        """Correct the rows that no longer agree with the directory, whoever changed it.

        Requests flushes of phones that may no longer be registered; :meth:`flush` carries them out. If subscribers are
        the directory, new domains get their accounts first. A long comparison is skipped while the directory does not
        change, see `sync.comparisons`.
        """
        with self._database.connection() as connection:
            made = follow_domains(connection)
            if not self._comparisons.is_due(connection):
                return {"reconciled": 0, "flushes_asked": 0, "skipped": 1}
            started = monotonic()
            done = reconcile(connection, batch=self._settings.sync_batch, stopping=self._stopping)
        self._comparisons.made(complete=not done.left, seconds=monotonic() - started)
        counts = {"reconciled": done.written, "flushes_asked": done.flushed}
        return {"accounts_made": made, **counts} if made else counts

    def count(self) -> Census | None:
        """Count all registrations, for the metrics."""
        with self._database.connection() as connection:
            return take_census(connection, stopping=self._stopping.is_set)

    def watch(self) -> WorkerState:
        """Measure the backlog of the other jobs, for the metrics."""
        with self._database.connection() as connection:
            return find_worker_state(connection)

    def flush(self, node: int) -> dict[str, int]:
        """Retry the flushes that one node has not confirmed; see `sync.flush_retries`."""
        limit = max(1, round(self._settings.sync_flush_rate * self._settings.sync_flush_interval))
        return self._flusher.run(node, limit=limit, stopping=self._stopping.is_set)

    def fetch(self, node: int) -> dict[str, int]:
        """Store the source addresses and third parties of one node's REGISTERs; see `sync.sources`."""
        return self._sources[node].run(stopping=self._stopping)

    def expire(self) -> dict[str, int]:
        """Delete expired rows that no Kamailio cleans, sources without a binding, expired tokens and old flushes."""
        settings = self._settings
        with self._database.connection() as connection:
            doubtful = self._clock_is_doubtful(connection)
            flushes = partial(expire_flushes, grace=settings.sync_expire_grace, keep=settings.sync_flush_keep)
            rows = partial(expire_rows, grace=settings.sync_expire_grace)
            return {
                "expired": self._delete(connection, rows, limit=settings.sync_batch),
                "sources_expired": 0 if doubtful else expire_sources(connection, stopping=self._stopping),
                "tokens_expired": self._delete(connection, expire_tokens, limit=ROWS_AT_A_TIME),
                "flushes_expired": self._delete(connection, flushes, limit=ROWS_AT_A_TIME),
            }

    def _delete(self, connection: Connection, delete: Callable[..., int], *, limit: int) -> int:
        """Delete in batches until none is left. Looks at the clock before each, since it may be set at any time."""
        deleted, count = 0, limit
        while count == limit and not self._stopping.is_set() and not self._clock_is_doubtful(connection):
            count = delete(connection, limit=limit)
            deleted += count
        return deleted

    def _clock_is_doubtful(self, connection: Connection) -> bool:
        before, self._ahead = self._ahead, find_epoch(connection) - monotonic()
        moved = 0.0 if before is None else self._ahead - before
        if moved > CLOCK_TOLERANCE_SECONDS:
            self._keep_until = monotonic() + CLOCK_REST_SECONDS
            facts = {"action": "expire", "seconds": round(moved)}
            log.warning("PostgreSQL's clock moved forward, expiry suspended for a day", extra=facts)
        return monotonic() < self._keep_until
