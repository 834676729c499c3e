"""Metrics of the worker for Prometheus. Jobs measure what needs the database; a scrape shows their last result."""

from __future__ import annotations

import time
from collections import Counter as Sums
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kamailio.call_metrics import CallMetrics
from sql.connections.database import Database
from sql.registrations.census import Census
from sql.worker.state import WorkerState

PREFIX = "kamailio_registrations"
# A run without new rows takes a millisecond, a comparison of a million rows some tens of seconds.
JOB_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# No identifier of an account has a slash.
OTHERS, NONE = "/other", "/none"


class Counted(NamedTuple):
    """A census and when it was finished, epoch seconds."""

    census: Census
    at: float


class Metrics:
    """The metrics of this process. Safe to share between threads."""

    def __init__(self, *, accounts: int) -> None:
        """Create them.

        Args:
            accounts: number of accounts with series of their own; the smaller ones share one.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody needs
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        named: dict[str, Any] = {"namespace": PREFIX, "registry": self.registry}
        self._jobs = Histogram("job_duration_seconds", "Runs of a job.", ["name"], buckets=JOB_SECONDS, **named)
        self._failures = Counter("job_failures", "Runs of a job that failed.", ["name"], **named)
        self._rows = Counter("job_rows", "Rows that jobs wrote, by what they did with them.", ["name", "what"], **named)
        text = "Runs of a job that were skipped: nothing had changed since the last one."
        self._skips = Counter("job_skips", text, ["name"], **named)
        self.call = CallMetrics(self.registry).count
        self._leads = Gauge("worker_leads", "Whether this worker leads, and so runs the jobs.", **named)
        self._found = _Found(accounts)
        self.registry.register(self._found)

    def serve(self, listen: str) -> None:
        """Answer scrapes, in a thread of its own.

        Raises:
            OSError: the address is not available.
        """
        host, _, port = listen.rpartition(":")
        start_http_server(int(port), host.strip("[]"), registry=self.registry)

    def of(self, database: Database) -> None:
        """Include the connections of this pool."""
        self._found.database = database

    @contextmanager
    def run_of(self, job: str) -> Iterator[None]:
        """Time a run of a job, and count it if it fails."""
        failures = self._failures.labels(job)
        with self._jobs.labels(job).time(), failures.count_exceptions():
            yield

    def wrote(self, job: str, counts: Mapping[str, int]) -> None:
        """Count what a run wrote."""
        for what, count in counts.items():
            self._rows.labels(job, what).inc(count)

    def skipped(self, job: str) -> None:
        """Count a run that was skipped."""
        self._skips.labels(job).inc()

    def lead(self, leads: bool) -> None:
        """Set whether this worker leads. If not, what it found in the database is outdated."""
        self._leads.set(leads)
        if not leads:
            self._found.state = self._found.counted = None

    def take(self, found: WorkerState | Census) -> None:
        """Store the result of a job, for the next scrapes."""
        if isinstance(found, Census):
            self._found.counted = Counted(found, time.time())
        else:
            self._found.state = found


class _Found(Collector):
    """The last results of the jobs."""

    def __init__(self, accounts: int) -> None:
        self._accounts = accounts
        self.state: WorkerState | None = None
        self.counted: Counted | None = None
        self.database: Database | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self.database is not None:
            text = "Connections to PostgreSQL that are lent or idle, and jobs that wait for one."
            yield _family("database_connections", text, "state", self.database.occupancy())
        if (state := self.state) is not None:
            yield _single(
                "enrichment_backlog_rows", "Rows that are not enriched yet, up to 100,000.", state.backlog_rows
            )
            yield _single("enrichment_lag_seconds", "Age of the oldest of them.", _age(state.backlog_seconds))
            yield _single("pending_flushes", "Flushes that a node has not confirmed.", state.flushes)
            yield _single("oldest_pending_flush_seconds", "Age of the oldest of them.", _age(state.flush_seconds))
        if (counted := self.counted) is not None:
            census, at = counted
            yield _single("counted_timestamp_seconds", "Time of the last count of registrations.", at)
            yield _single("bindings", "Registrations.", sum(census.nodes.values()))
            yield _family("account_bindings", "Registrations by account.", "account_id", self._largest(census.accounts))
            yield _family("node_bindings", "Registrations by node.", "server_id", census.nodes)
            transports = {name or NONE: count for name, count in census.transports.items()}
            yield _family("transport_bindings", "Registrations by transport.", "transport", transports)

    def _largest(self, accounts: Sums[str | None]) -> dict[str, int]:
        known = Sums({name: count for name, count in accounts.items() if name is not None})
        shown = dict(known.most_common(self._accounts))
        return {**shown, OTHERS: known.total() - sum(shown.values()), NONE: accounts[None]}


def _age(seconds: float | None) -> float:
    """At least 0: PostgreSQL's clock may have been set back since."""
    return max(seconds or 0.0, 0.0)


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _family(name: str, text: str, label: str, values: Mapping[str, int] | Mapping[int, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([str(value)], count)
    return family
