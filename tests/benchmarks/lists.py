"""Lists and counts over HTTP, compared with the bare SELECT, an empty view, and a view written in five minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from tests.benchmarks.bed import Bed
from tests.benchmarks.clients import fetch_well, pace, peak_growth, request_bytes
from tests.benchmarks.data import mixed, of_200, one
from tests.benchmarks.figures import Figure, Outcome, measures

LIST_10000 = Figure(
    name="list-10000",
    title="list of 10,000 over HTTP / SELECT of the same columns by psycopg",
    unit="ms",
    goal=3,
)
NAIVE_10000 = Figure(
    name="list-10000-naive",
    title="the same of a view with SELECT * and jsonify / SELECT of the same columns by psycopg",
    unit="ms",
)
LIST_200 = Figure(
    name="list-200",
    title="list of 200 with 1,000,000 rows in the table / with 1,000",
    unit="ms",
    goal=1.3,
)
GROWTH = Figure(
    name="list-1000000-memory", title="list of 1,000,000: growth of the server's processes", unit="MB", goal=64
)
FIRST_BYTE = Figure(name="list-1000000-first-byte", title="list of 1,000,000: first byte", unit="ms", goal=300)
COUNT = Figure(
    name="count",
    title="count (account of 200), answers per second / those of an empty view on the same server (/live)",
    unit="/s",
    goal=0.5,
    at_least=True,
)
# The columns of location that the list uses.
BASE_COLUMNS = (
    "select id, account_id, device_id, owner_id, username, domain, expires, last_modified, first_registered_at, ruid, "
    "contact, received, path, callid, user_agent, socket, instance, server_id from location "
    "where account_id = %s order by id desc"
)


def main_database(bed: Bed) -> str:
    """Make a million registrations in accounts of very different size."""
    return bed.ours("main", lambda: mixed(bed.rows()))


def stock_database(bed: Bed) -> str:
    """Make the same registrations in the stock table."""
    return bed.stock("stock", lambda: mixed(bed.rows()))


def registrations(account_id: str) -> str:
    """Return the path of an account's list."""
    return f"/v2/accounts/{account_id}/registrations"


@measures(LIST_10000, NAIVE_10000)
def list_10000(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    token = bed.tokens[name]
    ours, raw, naive = [], [], []
    gunicorn = [sys.executable, "-m", "gunicorn", "tests.benchmarks.naive:create_app()", "-w", "2", "--threads", "8"]
    with (
        bed.api(name) as server,
        bed.api(name, command=[*gunicorn]) as other,
        bed.connect(name) as connection,
    ):
        for number in range(bed.rounds(15) + 1):
            got = fetch_well(server.port, registrations("hundredth"), token)
            also = fetch_well(other.port, "/hundredth")
            started = perf_counter()
            rows = connection.execute(BASE_COLUMNS, ("hundredth",)).fetchall()
            taken = perf_counter() - started
            if number:  # the first request has cold caches
                ours.append(got.last * 1000)
                naive.append(also.last * 1000)
                raw.append(taken * 1000)
        assert len(rows) == bed.rows() // 100
    yield Outcome(figure=LIST_10000, ours=ours, reference=raw, note=f"{got.size / 1e6:.1f} MB of JSON")
    yield Outcome(figure=NAIVE_10000, ours=naive, reference=raw)


@measures(LIST_200)
def list_200(bed: Bed) -> Iterator[Outcome]:
    large, small = main_database(bed), bed.ours("small", lambda: of_200(1000))
    number_of_accounts = round(bed.rows() * 0.8 / 200)
    accounts = [
        f"a200-{number}" for number in range(0, number_of_accounts, max(1, number_of_accounts // bed.rounds(40)))
    ]
    ours, reference = [], []
    with bed.api(large) as of_large, bed.api(small) as of_small:
        for number in range(bed.rounds(7) + 1):
            times: tuple[list[float], list[float]] = ([], [])
            for index, account in enumerate(accounts):
                times[0].append(fetch_well(of_large.port, registrations(account), bed.tokens[large]).last)
                little = registrations(f"a200-{index % 5}")
                times[1].append(fetch_well(of_small.port, little, bed.tokens[small]).last)
            if number:
                ours.append(median(times[0]) * 1000)
                reference.append(median(times[1]) * 1000)
    bed.drop(small)
    yield Outcome(figure=LIST_200, ours=ours, reference=reference, note=f"median of {len(accounts)} accounts a round")


@measures(GROWTH, FIRST_BYTE)
def list_all(bed: Bed) -> Iterator[Outcome]:
    name = bed.ours("one", lambda: one(bed.rows()))
    grown, first, last = [], [], 0.0
    with bed.api(name) as server:
        fetch_well(server.port, registrations("phones"), bed.tokens[name])

        def whole() -> None:
            nonlocal last
            got = fetch_well(server.port, registrations("all"), bed.tokens[name])
            first.append(got.first * 1000)
            last = got.last

        for _ in range(bed.rounds(2)):
            with bed.saying("the whole list"):
                grown.append(peak_growth(server.workers, whole))
    bed.drop(name)
    yield Outcome(figure=GROWTH, ours=grown)
    yield Outcome(figure=FIRST_BYTE, ours=first, note=f"last byte after {last:.1f} s")


@measures(COUNT)
def count(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    counts = request_bytes(f"{registrations('a200-1')}/count", bed.tokens[name])
    ours, reference = [], []
    with bed.api(name) as server:
        # Many rounds, because the kernel spreads the connections over the server's processes differently each time.
        for number in range(bed.rounds(20) + 1):
            asked = pace(server.port, [counts], clients=16, seconds=bed.seconds(1))
            empty = pace(server.port, [request_bytes("/live")], clients=16, seconds=bed.seconds(1))
            if number or bed.rounds(2) == 1:
                ours.append(asked.per_second)
                reference.append(empty.per_second)
    yield Outcome(figure=COUNT, ours=ours, reference=reference)
