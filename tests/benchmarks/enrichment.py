"""The cost of the worker: enriching a million new rows, reconciling all rows, and the delay for phones meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from tests.benchmarks.bed import Bed
from tests.benchmarks.data import REALM, forget_phones, mixed
from tests.benchmarks.figures import Figure, Outcome, measures
from tests.benchmarks.lists import main_database
from tests.benchmarks.load import Wish
from tests.benchmarks.proxies import STEADY, Proxy, proxy, registers, steady

ENRICH = Figure(
    name="enrich",
    title="enriching 1,000,000 new rows in batches / one bare UPDATE ... FROM, both beside 500 REGISTERs a second",
    unit="s",
    goal=2,
)
ENRICH_P99 = Figure(
    name="enrich-register",
    title="REGISTER at 500/s, 99th percentile: while that goes on / idle",
    unit="ms",
    goal=1.5,
)
BARE_P99 = Figure(name="enrich-bare-register", title="the same during the bare UPDATE / idle", unit="ms")
BUSY_P99 = Figure(
    name="busy-register",
    title="REGISTER at 500/s, 99th percentile: beside a process that only computes, and needs nothing of ours / idle",
    unit="ms",
)
RECONCILE_P99 = Figure(
    name="reconcile-register",
    title="REGISTER at 500/s, 99th percentile: while all rows are reconciled, one run after the other / idle",
    unit="ms",
    goal=1.5,
)
ALL_P99 = Figure(
    name="reconcile-all-register",
    title="REGISTER at 500/s, 99th percentile: while 1,000,000 rows change their owner / idle",
    unit="ms",
    goal=1.5,
)
MEMORY = Figure(
    name="reconcile-memory", title="memory of the worker while 1,000,000 rows change their owner", unit="MB", goal=128
)
# Writes the same values into the same rows as enrichment, but in one statement, which locks all rows until it ends.
BARE = """
update location l set
    account_id = e.account_id, device_id = e.device_id, owner_id = e.owner_id, device_state = e.device_state,
    enriched_at = now()
from location_enrichment e
where e.id = l.id and l.enriched_at is null and l.domain <> %s
"""


def _idle(bed: Bed, running: Proxy) -> float:
    return registers(running, Wish(phones=bed.phones, seconds=bed.seconds(10), rate=STEADY)).p99 * 1000


def _beside_a_computing_process(bed: Bed, running: Proxy) -> float:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as computing:
        try:
            return _idle(bed, running)
        finally:
            computing.kill()


@measures(ENRICH, ENRICH_P99, BARE_P99)
def enrich(bed: Bed) -> Iterator[Outcome]:
    template = bed.ours("raw", lambda: mixed(bed.rows()), enriched=False)
    taken: tuple[list[float], list[float]] = ([], [])
    p99: tuple[list[float], list[float]] = ([], [])
    idle: tuple[list[float], list[float]] = ([], [])
    for _ in range(bed.rounds(1)):  # one round takes minutes, with 500 REGISTERs a second
        for bare in (False, True):
            with bed.copy(template) as name, proxy(bed, name) as running, bed.connect(name) as connection:
                registers(running, Wish(phones=bed.phones))
                connection.execute("checkpoint")
                idle[bare].append(_idle(bed, running))
                what = "the bare UPDATE" if bare else "enrichment"
                with bed.saying(f"{what} of {bed.rows():,} rows"), steady(bed, running) as loading:
                    started = perf_counter()
                    if bare:
                        connection.execute(BARE, (REALM,))
                    else:
                        with bed.jobs(name) as jobs:
                            assert jobs.enrich()["enriched"] >= bed.rows()
                    taken[bare].append(perf_counter() - started)
                    p99[bare].append(loading.end().p99 * 1000)
    bed.drop(template)
    yield Outcome(figure=ENRICH, ours=taken[0], reference=taken[1])
    yield Outcome(figure=ENRICH_P99, ours=p99[0], reference=idle[0])
    yield Outcome(figure=BARE_P99, ours=p99[1], reference=idle[1])


@measures(BUSY_P99, RECONCILE_P99, ALL_P99, MEMORY)
def reconcile(bed: Bed) -> Iterator[Outcome]:
    p99, idle, busy, runs = [], [], [], []
    with bed.copy(main_database(bed)) as name, bed.connect(name) as connection:
        forget_phones(connection)
        with proxy(bed, name) as running:
            registers(running, Wish(phones=bed.phones))
            with bed.jobs(name) as jobs:
                jobs.enrich()
            with bed.saying("all rows compared with the directory, again and again"):
                for _ in range(bed.rounds(3)):
                    idle.append(_idle(bed, running))
                    busy.append(_beside_a_computing_process(bed, running))
                    with steady(bed, running) as loading:
                        started = perf_counter()
                        while (begun := perf_counter()) < started + bed.seconds(10):
                            with bed.jobs(name) as jobs:  # a new worker compares everything
                                assert not any(jobs.reconcile().values())
                            runs.append(perf_counter() - begun)
                        p99.append(loading.end().p99 * 1000)
            note = f"one run took {median(runs):.1f} s"
            yield Outcome(figure=BUSY_P99, ours=busy, reference=idle)
            yield Outcome(figure=RECONCILE_P99, ours=p99, reference=idle, note=note)
            connection.execute("update device set owner_id = null where account_id <> 'phones'")
            # Clean up after the change itself, so that only the worker's part is measured.
            connection.execute("vacuum analyze device")
            connection.execute("checkpoint")
            before = _idle(bed, running)
            with bed.saying(f"{bed.rows():,} rows change their owner"), steady(bed, running) as loading:
                worker = subprocess.Popen(
                    [bed.program("registrations-sync"), "once"],
                    env={**os.environ, **bed.worker_environment(name)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                started = perf_counter()
                _, status, usage = os.wait4(worker.pid, 0)
                worker.returncode = os.waitstatus_to_exitcode(status)
                spent = perf_counter() - started
                everything = loading.end().p99 * 1000
            after = _idle(bed, running)
            left = connection.execute(
                "select count(*) from location where owner_id is not null and domain <> %s", (REALM,)
            ).fetchone()
            assert left == (0,), f"{left} rows were not reconciled"
    note = f"took {spent:.0f} s; idle before {before:.1f} ms, after {after:.1f} ms"
    yield Outcome(figure=ALL_P99, ours=[everything], reference=[(before + after) / 2], note=note)
    yield Outcome(figure=MEMORY, ours=[usage.ru_maxrss * 1024 / 1e6])
