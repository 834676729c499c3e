"""How costs grow: list, count, tick, reconcile and flush with 10,000, 100,000 and 1,000,000 rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from time import perf_counter

import psycopg

from tests.benchmarks.bed import ROWS, Bed
from tests.benchmarks.clients import fetch_well
from tests.benchmarks.data import REALM, forget_phones, mixed
from tests.benchmarks.figures import Figure, Outcome, measures
from tests.benchmarks.lists import main_database, registrations
from tests.benchmarks.load import Wish
from tests.benchmarks.proxies import proxy, registers

SIZES = (ROWS // 100, ROWS // 10, ROWS)
GROWTH = Figure(
    name="growth",
    title="enriching 200 new rows among 1,000,000 / among 10,000 (the other jobs: see the table of growth)",
    unit="ms",
)
# The account "tenth" has a tenth of all rows.
FEW = 200
TICK = "enrich tick, 200 new rows"
NEW_ROWS = """
insert into location (ruid, username, domain, contact, expires, last_modified, server_id)
select 'bench-new-' || n, 'u' || n, 'phones.example.com', 'sip:u' || n || '@192.0.2.1',
    extract(epoch from now())::bigint + 3600, extract(epoch from now())::bigint, 2
from generate_series(1, %s) n
"""


def _costs(bed: Bed, name: str) -> dict[str, float]:
    token, times = bed.tokens[name], bed.rounds(5)
    few = min(FEW, bed.phones)
    costs: dict[str, float] = {}

    def measure(
        label: str, work: Callable[[], object], *, times: int = times, before: Callable[[], object] = lambda: None
    ) -> None:
        taken = []
        for _ in range(times):
            before()
            started = perf_counter()
            work()
            taken.append((perf_counter() - started) * 1000)
        costs[label] = median(taken)
        bed.say(f"  {label}: {costs[label]:.3g} ms")

    def compare() -> None:
        with bed.jobs(name) as starting:  # a later run skips a comparison that takes long
            starting.reconcile()

    with bed.connect(name) as connection, ExitStack() as running:
        forget_phones(connection)
        connection.execute("vacuum analyze location")  # to clean up after other figures
        registrar = running.enter_context(proxy(bed, name))
        api = running.enter_context(bed.api(name, rpc=registrar.rpc_url, database_statement_timeout=60))
        jobs = running.enter_context(bed.jobs(name, rpc=registrar.rpc_url))

        def get(path: str, method: str = "GET") -> Callable[[], object]:
            return lambda: fetch_well(api.port, path, token, method=method)

        get("/v2/registrations/count")()
        measure("list of 200", get(registrations("a200-1")))
        measure("list of a tenth", get(registrations("tenth")), times=bed.rounds(2))
        measure("page of 50 of a tenth", get(f"{registrations('tenth')}?page_size=50"))
        measure("count of 200", get(f"{registrations('a200-1')}/count"))
        measure("count of a tenth", get(f"{registrations('tenth')}/count"))
        measure("count of all", get("/v2/registrations/count"))
        measure(TICK, jobs.enrich, before=lambda: _add_new(connection, few))
        forget_phones(connection)
        measure("tick without news", jobs.enrich)
        measure("reconcile, nothing changed", compare, times=bed.rounds(2))
        measure(
            "flush of 200",
            get(f"{registrations('phones')}?check_sync=false", "DELETE"),
            before=lambda: registers(registrar, Wish(phones=few)),
        )
    return costs


def _add_new(connection: psycopg.Connection, count: int) -> None:
    connection.execute("delete from location where domain = %s", (REALM,))
    connection.execute(NEW_ROWS, (count,))


@measures(GROWTH)
def growth(bed: Bed) -> Iterator[Outcome]:
    table: dict[int, dict[str, float]] = {}
    for size in SIZES:
        rows = bed.rows(size)
        if size == ROWS:
            name = main_database(bed)
        else:
            name = bed.ours(f"rows_{size}", lambda rows=rows: mixed(max(rows, 1000)))  # type: ignore[misc]
        with bed.saying(f"costs with {rows:,} rows"):
            table[rows] = _costs(bed, name)
        if size != ROWS:
            bed.drop(name)
    bed.tables["growth"] = {
        "unit": "ms",
        "rows": list(table),
        "costs": {label: [costs[label] for costs in table.values()] for label in table[bed.rows()]},
    }
    first, *_, last = (costs[TICK] for costs in table.values())
    yield Outcome(figure=GROWTH, ours=[last], reference=[first])
