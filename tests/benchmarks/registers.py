"""REGISTERs at a real Kamailio: the rate compared with the stock one, and the time until a row is enriched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, time

from tests.benchmarks.bed import Bed
from tests.benchmarks.clients import fetch_well
from tests.benchmarks.data import forget_phones, mixed
from tests.benchmarks.figures import Figure, Outcome, measures, percentile
from tests.benchmarks.lists import main_database, registrations
from tests.benchmarks.load import Wish
from tests.benchmarks.proxies import load, proxy, registers

REGISTER = Figure(
    name="register",
    title="REGISTERs per second with everything on (worker, API, a list each second) / stock Kamailio and schema alone",
    unit="/s",
    goal=0.95,
    at_least=True,
)
VISIBLE = Figure(
    name="visible", title="200 OK of a new phone until its enriched row is there, 99th percentile", unit="s", goal=1
)
ROWS = 100_000


@contextmanager
def _reader(port: int, token: str) -> Iterator[None]:
    """Request a list every second."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(1):
            fetch_well(port, registrations("a200-1"), token)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@measures(REGISTER)
def register(bed: Bed) -> Iterator[Outcome]:
    # Both Kamailios hold all rows in memory.
    ours = bed.ours("register", lambda: mixed(bed.rows(ROWS)), server_id=1)
    stock = bed.stock("register_stock", lambda: mixed(bed.rows(ROWS)), server_id=0)
    rates: tuple[list[float], list[float]] = ([], [])
    own = []
    with (
        proxy(bed, ours) as with_all,
        proxy(bed, stock, stock=True) as alone,
        bed.worker(ours, rpc=with_all.rpc_url),
        bed.api(ours, rpc=with_all.rpc_url) as api,
    ):
        for each in (with_all, alone):
            registers(each, Wish(phones=bed.phones))
        with bed.saying("REGISTERs, as fast as possible"):
            for _ in range(bed.rounds(5)):
                wish = Wish(phones=bed.phones, seconds=bed.seconds(8))
                with _reader(api.port, bed.tokens[ours]):
                    came = registers(with_all, wish)
                rates[0].append(came.per_second)
                own.append(came.cpu)
                rates[1].append(registers(alone, wish).per_second)
    bed.drop(ours)
    bed.drop(stock)
    note = f"all refreshes, authenticated; {ROWS * bed.scale:,.0f} rows; the load itself took {max(own):.0%} of a core"
    yield Outcome(figure=REGISTER, ours=rates[0], reference=rates[1], note=note)


@measures(VISIBLE)
def visible(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    waits = []
    with bed.connect(name) as connection:
        forget_phones(connection)
        row = connection.execute("select last_value from location_id_seq").fetchone()
        assert row is not None
        rate = 100.0
        seconds = min(bed.seconds(30), bed.phones / rate)
        seen: dict[str, float] = {}
        wish = Wish(phones=bed.phones, seconds=seconds, rate=rate, keep=True)
        with (
            proxy(bed, name) as running,
            bed.worker(name, rpc=running.rpc_url),
            load(running, wish) as loading,
        ):
            deadline = perf_counter() + seconds + 20
            while perf_counter() < deadline and (loading.is_running() or len(seen) < seconds * rate):
                found = connection.execute(
                    "select username from location where id > %s and enriched_at is not null", row
                ).fetchall()
                now = time()
                for (username,) in found:
                    seen.setdefault(username, now)
                if not found or len(found) == len(seen):
                    threading.Event().wait(0.01)
            came = loading.result()
        waits = [max(0.0, seen[username] - at) for username, at in came.answered]
        forget_phones(connection)
    note = f"{len(waits):,} phones, polled every 10 ms; median {percentile(waits, 0.5):.2f} s, most {max(waits):.2f} s"
    yield Outcome(figure=VISIBLE, ours=[percentile(waits, 0.99)], note=note)
