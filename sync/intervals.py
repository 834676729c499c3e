"""Intervals between runs that hold when somebody sets the wall clock, which APScheduler goes by."""

import logging
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

# How often to call `run_what_the_clock_holds_up`, in seconds.
CLOCK_SECONDS = 1.0
TOLERANCE = timedelta(seconds=1)

log = logging.getLogger(__name__)


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires so many seconds after the last run.

    APScheduler's IntervalTrigger adds the interval to the last due time. If the clock is set forward by a year, it
    lists all the missed runs, and the process runs out of memory.
    """

    def __init__(self, seconds: float) -> None:
        self.pause = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """The time of the next run."""
        return now + self.pause


def run_what_the_clock_holds_up(scheduler: BaseScheduler) -> None:
    """Run the jobs that are due later than their interval allows: if the clock was set back, they would wait for it."""
    now = datetime.now(UTC)
    late = [job for job in scheduler.get_jobs() if job.next_run_time - now > job.trigger.pause + TOLERANCE]
    for job in late:
        job.modify(next_run_time=now)
    if late:
        log.warning("clock was set back, running jobs now", extra={"action": "clock", "jobs": len(late)})
