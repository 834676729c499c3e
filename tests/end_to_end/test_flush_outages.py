"""PostgreSQL stops or freezes during a large flush. Nothing is lost, and neither clients nor phones hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

pytestmark = pytest.mark.long

BINDINGS = 1000
AORS = [f"phone-{number}@child.test" for number in range(BINDINGS)]
FROZEN_SECONDS = 10
BUDGET, STATEMENT_TIMEOUT = 3, 1
# A DELETE may wait 1 s for db_mode, for the nodes (BUDGET), and for its few statements: each for its own timeout, for
# 2 s if the frozen server does not enforce that, and for 1 s to connect again. This is an upper limit, not a goal.
DELETE_ENDS_WITHIN = 1 + BUDGET + 8 * (STATEMENT_TIMEOUT + 2 + 1)
# registrations.cfg: (timeout 3 + connect_timeout 3) * (1 + retries 1), for the statement that meets the outage.
REGISTER_ENDS_WITHIN = 12 + 3

Outage = Callable[[Cluster], Any]


@contextmanager
def _frozen(postgres: Cluster) -> Iterator[None]:
    begin = time.monotonic()
    postgres.freeze()
    try:
        yield
        wait_until(lambda: time.monotonic() - begin >= FROZEN_SECONDS, FROZEN_SECONDS + 1, "ten seconds to pass")
    finally:
        postgres.thaw()


@pytest.fixture
def registrar(
    request: pytest.FixtureRequest,
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    kamailio_url: str,
) -> Proxy:
    """A proxy in each db_mode that loads a thousand registrations when it starts."""
    database.execute(
        "insert into location (ruid, username, domain, contact, callid, cseq, expires, last_modified, server_id) "
        "select 'uloc-1-before-' || n, 'phone-' || n, 'child.test', 'sip:phone-' || n || '@192.0.2.1', 'call-' || n, 1,"
        " extract(epoch from now()) + 600, extract(epoch from now()) - 5, 1 from generate_series(0, %s) n",
        (BINDINGS - 1,),
    )
    registrar = start_kamailio(database_url=kamailio_url, db_mode=request.param)
    wait_until(lambda: _in_memory(registrar) == BINDINGS, 20, "usrloc to load the table")
    return registrar


def _in_memory(registrar: Proxy) -> int:
    with registrar.rpc() as rpc:
        found = usrloc.lookup_many(rpc, AORS, budget=30)
    return sum(len(contacts) for contacts in found if isinstance(contacts, tuple))


def _ask(client: FlaskClient, directory: Directory, method: str = "GET", path: str = "") -> Any:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    return client.open(f"/v2/accounts/child/registrations{path}", method=method, headers=headers)


def _rows(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from location").fetchone()
    return row[0] if row else 0


@pytest.mark.parametrize(
    ("registrar", "begun", "outage"),
    [
        pytest.param(1, False, Cluster.stopped, id="write-through, stopped before the promise"),
        pytest.param(1, False, _frozen, id="write-through, frozen before the promise"),
        pytest.param(1, True, Cluster.stopped, id="write-through, stopped midway"),
        pytest.param(1, True, _frozen, id="write-through, frozen midway"),
        pytest.param(2, True, _frozen, id="write-back, frozen midway"),
        pytest.param(3, True, Cluster.stopped, id="database-only, stopped midway"),
        pytest.param(3, True, _frozen, id="database-only, frozen midway"),
    ],
    indirect=["registrar"],
)
def test_an_outage_of_postgresql_breaks_no_promise(
    outage: Outage,
    begun: bool,
    registrar: Proxy,
    start_api: StartApi,
    start_worker: StartWorker,
    directory: Directory,
    postgres: Cluster,
    database: psycopg.Connection,
    database_url: str,
) -> None:
    """DELETE and REGISTER are answered. Afterwards all promised bindings are gone, or none was promised."""
    client = start_api(
        kamailio_rpc=registrar.rpc_url, statement_timeout=STATEMENT_TIMEOUT, api_flush_budget=float(BUDGET)
    )
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url, REGISTRATIONS_SYNC_FLUSH_GRACE="1")
    assert _ask(client, directory, path="/count").get_json()["data"] == {"count": BINDINGS}
    with ThreadPoolExecutor() as threads, Phone("bob", "child.test", "secret", proxy=registrar.sip) as bob:
        assert bob.register().status == 200
        if begun:
            delete = threads.submit(_ask, client, directory, "DELETE")
            wait_until(lambda: _is_under_way(registrar), 10, "the flush to be under way", interval=0.001)
        with outage(postgres):
            if not begun:
                delete = threads.submit(_ask, client, directory, "DELETE")
            register = threads.submit(bob.register, timeout=REGISTER_ENDS_WITHIN)
            answer = delete.result(timeout=DELETE_ENDS_WITHIN)
            assert register.result().status in {200, 500, 503}
        assert answer.status_code in {200, 503}
        assert bob.register(timeout=REGISTER_ENDS_WITHIN).status == 200
    with psycopg.connect(database_url, autocommit=True) as after:
        promised = after.execute("select id from flush").fetchone() is not None
        assert promised or answer.status_code == 503
        after.execute("update flush_binding set due_at = now()")  # the lease of the one who asked is over
        expected = 0 if promised else BINDINGS
        wait_until(lambda: _in_memory(registrar) == expected, 60, "Kamailio to keep the promise", interval=0.5)
        wait_until(lambda: _rows(after) == expected + 1, 60, "only bob's row to be left", interval=0.5)
        listed = _ask(client, directory).get_json()["data"]
        assert len(listed) == expected + 1
        assert listed[-1]["username"] == "bob" or not promised
        wait_until(lambda: _unfinished(after) == 0, 60, "every flush to be finished", interval=0.5)


def _unfinished(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from flush where finished_at is null").fetchone()
    return row[0] if row else 0


def _is_under_way(registrar: Proxy) -> bool:
    """Return whether Kamailio has removed the first of them."""
    with registrar.rpc() as rpc:
        return usrloc.lookup(rpc, AORS[0]) == ()
