"""Intervals between runs of jobs that hold when the wall clock is set, by which APScheduler goes."""

import logging
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

# How often to call `run_what_the_clock_holds_up`.
CLOCK_SECONDS = 1.0
TOLERANCE = timedelta(seconds=1)

log = logging.getLogger(__name__)


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """So many seconds from now on.

    APScheduler's own trigger adds them to the last time, so that a clock which is set forward by a year makes a list of
    all the runs that were missed, and the process runs out of memory.
    """

    def __init__(self, seconds: float) -> None:
        self.pause = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """When APScheduler is to run the job next."""
        return now + self.pause


def run_what_the_clock_holds_up(scheduler: BaseScheduler) -> None:
    """Run the jobs that are further away than their interval: since the clock was set back, they would wait for it."""
    now = datetime.now(UTC)
    late = [job for job in scheduler.get_jobs() if job.next_run_time - now > job.trigger.pause + TOLERANCE]
    for job in late:
        job.modify(next_run_time=now)
    if late:
        log.warning("the clock was set back, jobs run now", extra={"action": "clock", "jobs": len(late)})
