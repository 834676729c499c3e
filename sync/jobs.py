"""What the worker does: enrich, reconcile, fetch, flush, expire, each in batches that end early when it is to stop."""

import logging
from dataclasses import dataclass
from threading import Event
from time import monotonic

from kamailio.nodes import Nodes
from sql.access.tokens import expire_tokens
from sql.connections.database import Connection, Database
from sql.directory.subscribers import follow_domains
from sql.flushes.progress import expire_flushes
from sql.registrations.census import Census, take_census
from sql.registrations.sources import expire_sources
from sql.worker.enrichment import enrich, expire_rows, find_directory_state, reconcile
from sql.worker.state import WorkerState, find_epoch, find_worker_state
from sync.flush_retries import Flusher
from sync.settings import SyncSettings
from sync.sources import Sources

# No SIP worker waits for these; the limit only keeps one statement short. What is left is dead all the same.
ROWS_AT_A_TIME = 10_000
# A comparison of all rows that takes less is made each time. A longer one has this share of the time at the most while
# the directory is as it was, and is made after that many seconds at the latest: so what nobody counts (a hand in
# location, a session that is still in a transaction) is found, too.
SHORT_COMPARISON_SECONDS = 1.0
IDLE_SHARE = 0.05
LONGEST_REST_SECONDS = 900.0
# Once PostgreSQL's clock was set forward, what lives may seem over. Nothing is deleted for a day, in which it may be
# set right again: else an hour or a year too much, for a moment, would cost tokens and flushes.
CLOCK_TOLERANCE_SECONDS = 60.0
CLOCK_REST_SECONDS = 86400.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """The last one: of which state of the directory, how long it took and when it ended.

    It was complete if no row was left, and the second of this state: a statement that had begun before the first may
    have written what the directory said then.
    """

    directory: str | None
    complete: bool
    took: float
    ended: float

    def suffices(self, directory: str | None, *, now: float) -> bool:
        """Whether another one would find nothing; `directory` is its state now."""
        return (
            self.complete
            and self.took > SHORT_COMPARISON_SECONDS
            and directory is not None
            and directory == self.directory
            and now < self.ended + min(self.took / IDLE_SHARE, LONGEST_REST_SECONDS)
        )


class Jobs:
    """The jobs on one database. Each returns how many rows it wrote, by what it did with them."""

    def __init__(
        self, database: Database, nodes: Nodes, settings: SyncSettings, *, stopping: Event | None = None
    ) -> None:
        self._database = database
        self._settings = settings
        self._flusher = Flusher(database, nodes, settings)
        self._sources = {node: Sources(database, nodes, settings, node=node) for node in nodes.ids}
        self._stopping = stopping or Event()
        self._compared: _Comparison | None = None
        self._ahead: float | None = None
        self._keep_until = 0.0

    def enrich(self) -> dict[str, int]:
        """Set account, device and owner on new rows; what a SIP worker holds at the moment is left for the next run."""
        with self._database.connection() as connection:
            return {"enriched": enrich(connection, batch=self._settings.sync_batch, stopping=self._stopping)}

    def reconcile(self) -> dict[str, int]:
        """Find the rows of which the directory now says something else, whoever changed it, and set them right.

        Whose device may not be registered any more is to be flushed; :meth:`flush` does it. Where subscribers are the
        directory, domains that are new get their accounts before. With many rows the comparison is left out while the
        directory is as it was, see `SHORT_COMPARISON_SECONDS`.
        """
        with self._database.connection() as connection:
            made = follow_domains(connection)
            directory, started = find_directory_state(connection), monotonic()  # before: what changes meanwhile counts
            if self._compared is not None and self._compared.suffices(directory, now=started):
                return {"reconciled": 0, "flushes_asked": 0}
            done = reconcile(connection, batch=self._settings.sync_batch, stopping=self._stopping)
        ended, seen = monotonic(), self._compared is not None and self._compared.directory == directory
        self._compared = _Comparison(
            directory=directory, complete=seen and not done.left, took=ended - started, ended=ended
        )
        counts = {"reconciled": done.written, "flushes_asked": done.flushed}
        return {"accounts_made": made, **counts} if made else counts

    def count(self) -> Census | None:
        """Count all registrations, for the metrics."""
        with self._database.connection() as connection:
            return take_census(connection, stopping=self._stopping.is_set)

    def watch(self) -> WorkerState:
        """See what waits for the other jobs, for the metrics."""
        with self._database.connection() as connection:
            return find_worker_state(connection)

    def flush(self, node: int) -> dict[str, int]:
        """Ask one node about the flushes that it has not confirmed; see `sync.flush_retries`."""
        limit = max(1, round(self._settings.sync_flush_rate * self._settings.sync_flush_interval))
        return self._flusher.run(node, limit=limit, stopping=self._stopping.is_set)

    def fetch(self, node: int) -> dict[str, int]:
        """Write what one node says of where REGISTERs came from, and from whom; see `sync.sources`."""
        return self._sources[node].run(stopping=self._stopping)

    def expire(self) -> dict[str, int]:
        """Delete what is over: rows that no Kamailio cleans, sources without a binding, dead tokens, old flushes."""
        batch, expired, forgotten = self._settings.sync_batch, 0, 0
        with self._database.connection() as connection:
            if self._clock_is_doubtful(connection):
                return {}
            while not self._stopping.is_set():
                count = expire_rows(connection, grace=self._settings.sync_expire_grace, limit=batch)
                expired += count
                if count < batch:
                    break
            while not self._stopping.is_set():
                count = expire_flushes(
                    connection,
                    grace=self._settings.sync_expire_grace,
                    keep=self._settings.sync_flush_keep,
                    limit=ROWS_AT_A_TIME,
                )
                forgotten += count
                if count < ROWS_AT_A_TIME:
                    break
            return {
                "expired": expired,
                "sources_expired": expire_sources(connection, stopping=self._stopping),
                "tokens_expired": expire_tokens(connection, limit=ROWS_AT_A_TIME),
                "flushes_expired": forgotten,
            }

    def _clock_is_doubtful(self, connection: Connection) -> bool:
        before, self._ahead = self._ahead, find_epoch(connection) - monotonic()
        moved = 0.0 if before is None else self._ahead - before
        if moved > CLOCK_TOLERANCE_SECONDS:
            self._keep_until = monotonic() + CLOCK_REST_SECONDS
            facts = {"action": "expire", "seconds": round(moved)}
            log.warning("PostgreSQL's clock was set forward, nothing expires for a day", extra=facts)
        return monotonic() < self._keep_until
