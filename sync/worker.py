"""The worker: an APScheduler that runs each job at its interval, while this process leads among several workers.

If a job cannot reach PostgreSQL, or PostgreSQL cancels its statement, it tries again at its next interval. A bug in a
job is logged with its traceback, each time. If a thread dies, the process exits so that its supervisor restarts it.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeVar

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from kamailio.nodes import Nodes
from sql.connections.database import Database, open_connection
from sql.connections.writability import Writability
from sql.errors import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseUnreachable,
    LoginRefused,
    SchemaStale,
    SessionShared,
    translated,
)
from sql.registrations.census import Census
from sql.settings import DatabaseSettings
from sql.worker.leadership import Leadership
from sql.worker.state import WorkerState
from sync.intervals import CLOCK_SECONDS, Every, run_what_the_clock_holds_up
from sync.jobs import Jobs
from sync.kazoo.job import import_kazoo
from sync.kazoo.settings import KazooSettings
from sync.metrics import Metrics
from sync.settings import SyncSettings

# Jobs that use a connection at the same time, for the whole and for each node.
DATABASE_JOBS = 5
NODE_JOBS = 2
WATCH_SECONDS = 5.0
# Between two signs of life of the leader, whatever its other jobs wait for; well below the shortest sync_lead_timeout.
LEAD_SECONDS = 1.0
JOB_DEFAULTS = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
# What ends the worker: an operator has to act first.
STOPS = {
    LoginRefused: "login refused, stopping",
    SchemaStale: "schema out of date, stopping",
    SessionShared: "pooler not in session mode, stopping",
}

Job = Callable[..., dict[str, int]]
Result = TypeVar("Result")

log = logging.getLogger(__name__)


def lead() -> dict[str, int]:
    """Do nothing: each job gives a sign of life before it starts, and this one never keeps its thread."""
    return {}


class Worker:
    """Runs the jobs at their intervals until it is told to stop."""

    def __init__(
        self, settings: SyncSettings, database_settings: DatabaseSettings, nodes: Nodes, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._nodes = nodes
        self._stopping = threading.Event()
        # Signal handlers put into it: its lock is reentrant. An Event's could be held by the thread they interrupt.
        self._told_to_stop: SimpleQueue[None] = SimpleQueue()
        self._failed = False
        self._database = Database(
            database_settings,
            application_name="registrations-sync",
            pool_size=DATABASE_JOBS + NODE_JOBS * len(nodes.ids),
            statement_timeout=settings.sync_statement_timeout,
        )
        metrics.of(self._database)
        self._kazoo_settings = KazooSettings()
        self._database_settings = database_settings
        self._writability = Writability()
        self._leadership = Leadership(database_settings, patience=settings.sync_lead_timeout)
        self._leadership_lock = threading.Lock()
        self._leads = False
        self._logged_outages = set[str]()  # each kind once an outage, however often they alternate

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; a job under way ends its batch first. A second signal kills.

        Returns:
            The exit code: 0 after a signal, 1 when a thread died, the login is refused, the schema is stale or a pooler
            is not in session mode.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_on_signal)
        threading.excepthook = self._stop_on_death
        schedule = list(self._schedule())
        # A thread for each job, so that none delays another.
        threads = ThreadPoolExecutor(len(schedule))
        scheduler = BackgroundScheduler({"default": threads}, job_defaults=JOB_DEFAULTS, timezone="UTC")
        now = datetime.now(UTC)
        for seconds, run, arguments in schedule:
            scheduler.add_job(run, Every(seconds), arguments, next_run_time=now)
        scheduler.start()
        log.info("worker started", extra={"action": "start"})
        self._wait_until_told(scheduler)
        self._stopping.set()
        scheduler.shutdown(wait=True)
        self._leadership.release()
        self._database.close()
        log.info("worker stopped", extra={"action": "stop"})
        return 1 if self._failed else 0

    def _wait_until_told(self, scheduler: BackgroundScheduler) -> None:
        while True:
            try:
                return self._told_to_stop.get(timeout=CLOCK_SECONDS)
            except Empty:
                run_what_the_clock_holds_up(scheduler)

    def _schedule(self) -> Iterator[tuple[float, Callable[..., None], list[Any]]]:
        """What to run: seconds from one run to the next, function, arguments."""
        jobs, settings = Jobs(self._database, self._nodes, self._settings, stopping=self._stopping), self._settings
        yield LEAD_SECONDS, self._run_job, [lead]
        yield settings.sync_enrich_interval, self._run_job, [jobs.enrich]
        yield settings.sync_reconcile_interval, self._run_job, [jobs.reconcile]
        yield settings.sync_expire_interval, self._run_job, [jobs.expire]
        if settings.sync_kazoo_url:
            yield settings.sync_kazoo_interval, self._run_job, [self.import_kazoo, settings.sync_kazoo_url]
        if settings.sync_metrics_listen:
            yield settings.sync_metrics_interval, self._run_measurement, [jobs.count]
            yield WATCH_SECONDS, self._run_measurement, [jobs.watch]
        for node in self._nodes.ids:  # each has its own jobs, so that an unreachable one delays no other
            yield settings.sync_enrich_interval, self._run_job, [jobs.fetch, node]
            yield settings.sync_flush_interval, self._run_job, [jobs.flush, node]

    def import_kazoo(self, url: str) -> dict[str, int]:
        """Import the directory from Kazoo; the worker's job of this name."""
        settings, database = self._kazoo_settings, self._database_settings
        return import_kazoo(url, settings, database, stopping=self._stopping, leads=self._lead)

    def _run_job(self, job: Job, *arguments: int | str) -> None:
        counts = self._run_if_leading(job, *arguments) or {}
        if counts.pop("skipped", 0):
            self._metrics.skipped(job.__name__)
        if any(counts.values()):
            self._metrics.wrote(job.__name__, counts)
            log.info("job done", extra={"action": job.__name__, **counts})

    def _run_measurement(self, measure: Callable[[], Census | WorkerState | None]) -> None:
        found = self._run_if_leading(measure)
        if found is not None:
            self._metrics.take(found)

    def _run_if_leading(self, job: Callable[..., Result], *arguments: int | str) -> Result | None:
        if self._stopping.is_set():
            return None
        try:
            leads = self._lead()
            self._note_reachable()
            if leads:
                with self._metrics.run_of(job.__name__):
                    return job(*arguments)
        except DatabaseBusy as error:
            log.warning("statement cancelled, retrying", extra={"action": job.__name__, "cause": str(error)})
        except DatabaseUnreachable as error:
            self._note_unreachable(error)
        except tuple(STOPS) as error:
            log.error(STOPS[type(error)], extra={"action": "stop", "cause": str(error)})
            self._stop_failed()
        except Exception:
            log.exception("job failed", extra={"action": job.__name__})
        return None

    def _lead(self) -> bool:
        with self._leadership_lock:
            leads, led = self._leadership.hold(), self._leads
            if leads and not led:
                self._require_writable_database()
            self._leads = leads
            if leads != led:
                self._metrics.lead(leads)
        if leads and not led:
            log.info("became leader", extra={"action": "lead"})
        elif led and not leads:
            log.warning("lost leadership to another worker", extra={"action": "follow"})
        return leads

    def _require_writable_database(self) -> None:
        # Not from the pool, which warns of each connection that is closed.
        name = "registrations-sync lead"
        with open_connection(self._database_settings, application_name=name) as connection, translated():
            try:
                self._writability.require(connection)
            except DatabaseReadOnly:
                self._leadership.release()  # a new session may reach the new primary
                raise

    def _note_unreachable(self, error: DatabaseUnreachable) -> None:
        if not self._logged_outages:
            self._leads = False
            self._writability = Writability()  # forget its last outcome
            self._metrics.lead(False)
        event = f"database {'read-only' if isinstance(error, DatabaseReadOnly) else 'unreachable'}, retrying"
        if event not in self._logged_outages:
            self._logged_outages.add(event)
            log.warning(event, extra={"action": "database", "cause": str(error)})

    def _note_reachable(self) -> None:
        if self._logged_outages:
            self._logged_outages.clear()
            log.info("database reachable again", extra={"action": "database"})

    def _stop_failed(self) -> None:
        self._failed = True
        self._told_to_stop.put(None)

    def _stop_on_signal(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self._told_to_stop.put(None)

    def _stop_on_death(self, thread: threading.ExceptHookArgs) -> None:
        log.error("thread died, stopping", exc_info=thread.exc_value, extra={"action": "stop"})
        self._stop_failed()
