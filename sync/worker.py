"""When the jobs run: an APScheduler in this process, and only while it leads among several workers.

A fault of PostgreSQL costs a job one interval: it is logged when it begins and when it ends, and the next run tries
again. A bug in a job is logged with its traceback each time. A thread that dies ends the process, for its supervisor
to start anew.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TypeVar

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from kamailio.nodes import Nodes
from sql.connections.database import Database, open_connection
from sql.connections.writability import Writability
from sql.errors import (
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
from sync.kazoo.job import KazooImport
from sync.kazoo.settings import KazooSettings
from sync.metrics import Metrics
from sync.settings import SyncSettings

DATABASE_JOBS = 5
NODE_JOBS = 2
WATCH_SECONDS = 5.0
# Between two signs of life of who leads, whatever the other jobs wait for; well below the shortest sync_lead_timeout.
LEAD_SECONDS = 1.0
JOB_DEFAULTS = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}

Job = Callable[..., dict[str, int]]

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def lead() -> dict[str, int]:
    """Do nothing: each job gives a sign of life before it starts, and this one never keeps its thread."""
    return {}


class Worker:
    """Runs the jobs on their intervals until it is told to stop."""

    def __init__(
        self, settings: SyncSettings, database_settings: DatabaseSettings, nodes: Nodes, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._nodes = nodes
        self._stopping = threading.Event()
        # Put by signal handlers: its lock is reentrant, an Event's could be held by the very thread they interrupt.
        self._told_to_stop: SimpleQueue[None] = SimpleQueue()
        self._failed = False
        self._database = Database(
            database_settings,
            application_name="registrations-sync",
            pool_size=DATABASE_JOBS + NODE_JOBS * len(nodes.ids),
            statement_timeout=settings.sync_statement_timeout,
        )
        metrics.of(self._database)
        self._kazoo = (
            KazooImport(
                settings.sync_kazoo_url,
                KazooSettings(),
                database_settings,
                stopping=self._stopping,
                leads=self._lead,
            )
            if settings.sync_kazoo_url
            else None
        )
        self._database_settings = database_settings
        self._writability = Writability()
        self._leadership = Leadership(database_settings, patience=settings.sync_lead_timeout)
        self._leadership_lock = threading.Lock()
        self._leads = False
        self._told_away = set[str]()  # each once an outage, however often they alternate

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; a job under way ends its batch first. A second signal kills.

        Returns:
            The exit code: 0 after a signal, 1 when a thread died, the login is refused, the schema is stale or a pooler
            is not in session mode.
        """
        jobs = Jobs(self._database, self._nodes, self._settings, stopping=self._stopping)
        # One thread for each job, so that none delays another.
        threads = ThreadPoolExecutor(1 + DATABASE_JOBS + NODE_JOBS * len(self._nodes.ids) + (self._kazoo is not None))
        scheduler = BackgroundScheduler({"default": threads}, job_defaults=JOB_DEFAULTS, timezone="UTC")
        now = datetime.now(UTC)
        every: list[tuple[Job, float]] = [
            (lead, LEAD_SECONDS),
            (jobs.enrich, self._settings.sync_enrich_interval),
            (jobs.reconcile, self._settings.sync_reconcile_interval),
            (jobs.expire, self._settings.sync_expire_interval),
        ]
        if self._kazoo is not None:
            every.append((self._kazoo.import_kazoo, self._settings.sync_kazoo_interval))
        for job, seconds in every:
            scheduler.add_job(self._run_job, Every(seconds), [job], id=job.__name__, next_run_time=now)
        if self._settings.sync_metrics_listen:
            for measure, seconds in ((jobs.count, self._settings.sync_metrics_interval), (jobs.watch, WATCH_SECONDS)):
                scheduler.add_job(
                    self._run_measurement, Every(seconds), [measure], id=measure.__name__, next_run_time=now
                )
        # Jobs of their own for each node, so that a dead one delays no other.
        of_nodes = ((jobs.fetch, self._settings.sync_enrich_interval), (jobs.flush, self._settings.sync_flush_interval))
        for node, (job, seconds) in product(self._nodes.ids, of_nodes):
            name = f"{job.__name__} at {node}"
            scheduler.add_job(self._run_job, Every(seconds), [job, node], id=name, next_run_time=now)
        with _told_by_signals(self._told_to_stop), self._ended_by_dying_threads():
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

    def _run_job(self, job: Job, *arguments: int) -> None:
        written = self._run_if_leading(job, *arguments)
        if written and any(written.values()):
            self._metrics.wrote(job.__name__, written)
            log.info("job done", extra={"action": job.__name__, **written})

    def _run_measurement(self, measure: Callable[[], Census | WorkerState | None]) -> None:
        found = self._run_if_leading(measure)
        if found is not None:
            self._metrics.take(found)

    def _run_if_leading(self, job: Callable[..., Result], *arguments: int) -> Result | None:
        if self._stopping.is_set():
            return None
        try:
            leads = self._lead()
            self._note_back()
            if not leads:
                return None
            with self._metrics.run_of(job.__name__):
                return job(*arguments)
        except DatabaseUnreachable as error:
            self._note_away(error)
        except (LoginRefused, SchemaStale, SessionShared) as error:
            log.error("cannot work", extra={"action": "stop", "cause": str(error)})
            self._failed = True
            self._told_to_stop.put(None)
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
            log.info("this worker leads", extra={"action": "lead"})
        elif led and not leads:
            log.warning("another worker leads: this one was not heard", extra={"action": "follow"})
        return leads

    def _require_writable_database(self) -> None:
        # Not from the pool, which warns of each connection that is closed.
        name = "registrations-sync lead"
        with open_connection(self._database_settings, application_name=name) as connection, translated():
            try:
                self._writability.require(connection)
            except DatabaseReadOnly:
                self._leadership.release()  # a session that is opened anew may reach the new primary
                raise

    def _note_away(self, error: DatabaseUnreachable) -> None:
        if not self._told_away:
            self._leads = False
            self._writability = Writability()  # whatever came out the last time
            self._metrics.lead(False)
        event = f"database is {'read-only' if isinstance(error, DatabaseReadOnly) else 'away'}, waiting"
        if event not in self._told_away:
            self._told_away.add(event)
            log.warning(event, extra={"action": "database", "cause": str(error)})

    def _note_back(self) -> None:
        if self._told_away:
            self._told_away.clear()
            log.info("database is back", extra={"action": "database"})

    @contextmanager
    def _ended_by_dying_threads(self) -> Iterator[None]:
        previous = threading.excepthook

        def note(args: threading.ExceptHookArgs) -> None:
            previous(args)
            self._failed = True
            self._told_to_stop.put(None)

        threading.excepthook = note
        try:
            yield
        finally:
            threading.excepthook = previous


@contextmanager
def _told_by_signals(told_to_stop: SimpleQueue[None]) -> Iterator[None]:
    """The first SIGTERM or SIGINT is passed on, the second has its default effect."""

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        told_to_stop.put(None)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
