"""A flush of ten thousand phones by the API, compared with bare ul.rm of the same AoRs by the same transport."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from kamailio.usrloc import aor, rm_many
from tests.benchmarks.bed import Bed
from tests.benchmarks.clients import PATIENCE, fetch_well
from tests.benchmarks.data import REALM, forget_phones
from tests.benchmarks.figures import Figure, Outcome, measures
from tests.benchmarks.lists import main_database, registrations
from tests.benchmarks.load import Wish
from tests.benchmarks.proxies import proxy, registers

FLUSH = Figure(
    name="flush",
    title="flush of 10,000 (DELETE, written down, each confirmed) / bare pipelined ul.rm of the same AoRs over HTTP",
    unit="s",
    goal=1.3,
)


@measures(FLUSH)
def flush(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    taken: tuple[list[float], list[float]] = ([], [])
    names = [aor(f"u{number}", REALM) for number in range(1, bed.phones + 1)]
    with bed.connect(name) as connection:
        forget_phones(connection)
        with (
            proxy(bed, name) as running,
            # The comparison with the directory takes one of two cores for seconds. It must not disturb either side.
            bed.worker(name, rpc=running.rpc_url, sync_reconcile_interval=3600),
            bed.api(name, rpc=running.rpc_url, api_flush_budget=120) as api,
            JsonRpcClient(transport_for(running.rpc_url), timeout=PATIENCE) as client,
            bed.saying(f"{bed.phones:,} phones register, are flushed, register, are removed"),
        ):
            for _ in range(bed.rounds(4)):
                registers(running, Wish(phones=bed.phones))
                started = perf_counter()
                fetch_well(api.port, registrations("phones"), bed.tokens[name], method="DELETE")
                taken[0].append(perf_counter() - started)
                assert connection.execute("select count(*) from location where domain = %s", (REALM,)).fetchone() == (
                    0,
                )
                registers(running, Wish(phones=bed.phones))
                started = perf_counter()
                assert not any(rm_many(client, names, budget=PATIENCE))
                taken[1].append(perf_counter() - started)
    yield Outcome(figure=FLUSH, ours=taken[0], reference=taken[1])
