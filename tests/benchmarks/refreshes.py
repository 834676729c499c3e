"""Refreshes as PostgreSQL sees them: usrloc's own UPDATE on our table and on the stock table, without Kamailio."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.bed import Bed
from tests.benchmarks.data import RUID, of_200
from tests.benchmarks.figures import Figure, Outcome, measures
from tests.benchmarks.lists import main_database, stock_database

RATE = Figure(
    name="refresh-rate",
    title="refreshes (usrloc's UPDATE) per second: our table / stock table",
    unit="/s",
    goal=1.1,
    at_least=True,
)
WAL = Figure(
    name="refresh-wal",
    title="WAL of the same refreshes from one checkpoint on: our table / stock table",
    unit="MB",
    goal=0.6,
)
HOT = Figure(name="refresh-hot", title="refreshes that are heap-only (HOT)", unit="%", goal=99, at_least=True)
HOT_STOCK = Figure(name="refresh-hot-stock", title="the same of the stock table", unit="%")
BLOAT = Figure(
    name="bloat",
    title="table and indexes after an hour of refreshes (each row every 3 minutes, autovacuum on) / before",
    unit="MB",
    goal=1.5,
)
BLOAT_STOCK = Figure(name="bloat-stock", title="the same of the stock table", unit="MB")
WAL_POSITION = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
CLIENTS = 8
# Fewer refreshes than those of a million phones between two checkpoints.
SAME = 300_000
# The UPDATE of a refresh from the same address, as log_statement shows it (Kamailio 5.6, db_mode 1), with the values of
# our rows. pgbench puts in the number of the row and the times, which every refresh changes.
UPDATE = (
    "update location set expires={expires},q=-1.000000 ,cseq=21,flags=0,cflags=0,"
    "user_agent='Yealink SIP-T46U 108.86.0.20',received='sip:198.51.100.:h:33333',path=NULL,"
    "socket='udp:203.0.113.1:5060',methods=5951,last_modified={modified},callid='c1b2d3e4f5a6@192.0.2.10',"
    "instance='<urn:uuid:0f0e0d0c-0b0a-0908-0706-050403020100>',reg_id=1,server_id=2,connection_id=-1,keepalive=0,"
    "contact='sip:phone@192.0.2.10:5062;line=:n' where ruid='{ruid}:n';\n"
)
OURS = UPDATE.format(expires="18:e", modified="17:e", ruid=RUID)
# Without the colons of a time: pgbench would take them for variables.
STOCK = UPDATE.format(expires="'20290101T12:m:s'", modified="'20280101T12:m:s'", ruid=RUID)

TIMES = "\\set h :n % 250\n\\set m random(10, 59)\n\\set s random(10, 59)\n\\set e random(10000000, 99999999)\n"


def _script(bed: Bed, rows: int, *, stock: bool) -> Path:
    path = bed.path("pgbench") / "refresh.sql"
    path.write_text(f"\\set n random(1, {rows})\n{TIMES}{STOCK if stock else OURS}", encoding="utf-8")
    return path


def _value(bed: Bed, name: str, query: str) -> float:
    with bed.connect(name) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return float(row[0])


def _hot_share(bed: Bed, name: str) -> float:
    return _value(
        bed, name, "select 100.0 * n_tup_hot_upd / n_tup_upd from pg_stat_user_tables where relname = 'location'"
    )


def _refresh_some(bed: Bed, name: str, script: Path, *, seed: int) -> None:
    transactions = bed.rows(SAME) // CLIENTS
    bed.pgbench(name, script, transactions=transactions, client=CLIENTS, jobs=1, **{"random-seed": seed})


@contextmanager
def _without_autovacuum(bed: Bed, *names: str) -> Iterator[None]:
    """Switch autovacuum off for both tables: databases share the WAL, so a vacuum would count for the wrong side."""

    def alter(change: bytes) -> None:
        for name in names:
            with bed.connect(name) as connection:
                connection.execute(b"alter table location " + change)

    alter(b"set (autovacuum_enabled = off)")
    try:
        yield
    finally:
        alter(b"reset (autovacuum_enabled)")


@measures(RATE, WAL, HOT, HOT_STOCK)
def refresh(bed: Bed) -> Iterator[Outcome]:
    names = {False: main_database(bed), True: stock_database(bed)}
    scripts = {stock: _script(bed, bed.rows(), stock=stock) for stock in names}
    rates: dict[bool, list[float]] = {False: [], True: []}
    wal: dict[bool, list[float]] = {False: [], True: []}
    for name in names.values():
        with bed.connect(name) as connection:
            connection.execute("select pg_stat_reset()")
    with bed.saying("the same number of refreshes on both"), _without_autovacuum(bed, *names.values()):
        for stock, name in names.items():
            bed.execute("alter database {name} set synchronous_commit = off", name=name)  # the same WAL, but faster
            # Age the table: in a new one all free space is at the end.
            _refresh_some(bed, name, scripts[stock], seed=1)
            with bed.connect(name) as connection:
                connection.execute("vacuum location")
                connection.execute("checkpoint")
            before = _value(bed, name, WAL_POSITION)
            _refresh_some(bed, name, scripts[stock], seed=2)
            wal[stock].append((_value(bed, name, WAL_POSITION) - before) / 1e6)
            bed.execute("alter database {name} reset synchronous_commit", name=name)
        for name in names.values():  # otherwise autovacuum would run in one of the rounds
            with bed.connect(name) as connection:
                connection.execute("vacuum location")
    with bed.saying("refreshes, as fast as possible"):
        for _ in range(bed.rounds(5)):
            for stock, name in names.items():
                bed.execute("checkpoint")
                said = bed.pgbench(name, scripts[stock], time=max(1, round(bed.seconds(6))), client=CLIENTS, jobs=1)
                found = re.search(r"tps = ([0-9.]+)", said)
                assert found, said
                rates[stock].append(float(found[1]))
    yield Outcome(figure=RATE, ours=rates[False], reference=rates[True], note=f"{CLIENTS} clients")
    yield Outcome(figure=WAL, ours=wal[False], reference=wal[True], note=f"{bed.rows(SAME):,} refreshes")
    yield Outcome(figure=HOT, ours=[_hot_share(bed, names[False])])
    yield Outcome(figure=HOT_STOCK, ours=[_hot_share(bed, names[True])])
    bed.drop(names[True])


@measures(BLOAT, BLOAT_STOCK)
def bloat(bed: Bed) -> Iterator[Outcome]:
    rows = bed.rows(20_000)
    sizes = {}
    with bed.connect("postgres") as admin:
        # An hour of refreshes takes about a minute here, so autovacuum wakes up every second instead of every minute.
        admin.execute("alter system set autovacuum_naptime = '1s'")
        admin.execute("select pg_reload_conf()")
    for stock in (False, True):
        make = bed.stock if stock else bed.ours
        name = make("bloat_stock" if stock else "bloat", lambda: of_200(rows))
        size = "select pg_total_relation_size('location') / 1e6"
        before = _value(bed, name, size)
        bed.execute("alter database {name} set synchronous_commit = off", name=name)
        with bed.saying(f"20 refreshes of each of {rows:,} rows"):
            script = _script(bed, rows, stock=stock)
            bed.pgbench(name, script, client=CLIENTS, jobs=1, transactions=rows * 20 // CLIENTS)
        sizes[stock] = (_value(bed, name, size), before)
        bed.drop(name)
    with bed.connect("postgres") as admin:
        admin.execute("alter system reset autovacuum_naptime")
        admin.execute("select pg_reload_conf()")
    for figure, (after, before) in ((BLOAT, sizes[False]), (BLOAT_STOCK, sizes[True])):
        yield Outcome(figure=figure, ours=[after], reference=[before])
