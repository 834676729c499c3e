"""A flush keeps its promise in every db_mode, whatever happens between the DELETE and Kamailio's removal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartJobs, StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.process import wait_until

pytestmark = pytest.mark.long

BOB = "bob@child.test"
TIMER = 2
"""Interval of usrloc's timer in these tests, in seconds: long enough to act before mode 2 writes the row."""


@pytest.fixture(params=[1, 2, 3], ids=["write-through", "write-back", "database-only"])
def registrar(
    request: pytest.FixtureRequest, start_kamailio: StartKamailio, directory: Directory, kamailio_url: str
) -> Proxy:
    """A proxy in each db_mode."""
    return start_kamailio(database_url=kamailio_url, db_mode=request.param, timer_interval=TIMER)


@pytest.fixture
def bob(registrar: Proxy) -> Iterator[Phone]:
    """A phone that has not registered yet."""
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as phone:
        yield phone


def _delete(client: FlaskClient, directory: Directory, path: str = "/bob") -> dict[str, Any]:
    response = client.delete(
        f"/v2/accounts/child/registrations{path}", headers={"X-Auth-Token": directory.tokens["child"]}
    )
    envelope: dict[str, Any] = response.get_json()
    assert (response.status_code, envelope["data"]) == (200, "ok")
    return envelope


def _listed(client: FlaskClient, directory: Directory) -> int:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    return len(client.get("/v2/accounts/child/registrations", headers=headers).get_json()["data"])


def _counted(client: FlaskClient, directory: Directory) -> int:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    counted = client.get("/v2/accounts/child/registrations/count", headers=headers).get_json()["data"]["count"]
    return int(counted)


def _in_memory(registrar: Proxy) -> int:
    with registrar.rpc() as rpc:
        return len(usrloc.lookup(rpc, BOB))


def _rows(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from location").fetchone()
    return row[0] if row else 0


def _left(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from flush_binding").fetchone()
    return row[0] if row else 0


def _wait_until_written(database: psycopg.Connection, modified_after: int = 0) -> None:
    wait_until(
        lambda: database.execute("select 1 from location where last_modified > %s", (modified_after,)).fetchone(),
        3 * TIMER + 2,
        "usrloc to write the row",
    )


def _seconds_pass(seconds: int = 1) -> None:
    """Wait for Kamailio's next second, so that a REGISTER counts as later. Its clock is some ms behind (time(2))."""
    begin = int(time.time())
    wait_until(lambda: time.time() >= begin + seconds + 0.02, seconds + 1, "the next second")


def test_a_registration_after_the_flush_shows_as_soon_as_it_is_written(
    registrar: Proxy, bob: Phone, start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """DELETE hides the binding at once. A REGISTER in the same second is listed as soon as usrloc writes it."""
    client = start_api(kamailio_rpc=registrar.rpc_url)
    for _ in range(3):
        assert bob.register().status == 200
        _wait_until_written(database)
        wait_until(lambda: _listed(client, directory) == 1, 3 * TIMER + 2, "bob to be listed")
        answer = _delete(client, directory)
        assert (answer["flushed"], answer["pending"]) == (1, 0)
        assert (_listed(client, directory), _counted(client, directory), _in_memory(registrar)) == (0, 0, 0)
        assert bob.register().status == 200
        assert _in_memory(registrar) == 1
        wait_until(lambda: _listed(client, directory) == 1, 2 * TIMER + 2, "bob to be listed again")


def test_a_refresh_before_the_removal_is_not_removed_by_a_retry(
    registrar: Proxy,
    bob: Phone,
    start_api: StartApi,
    start_jobs: StartJobs,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """DELETE while Kamailio is unreachable, a refresh, then the worker's retry: the binding stays and is listed."""
    client = start_api(kamailio_rpc=NOWHERE)
    bob.register()
    _wait_until_written(database)
    assert _delete(client, directory)["pending"] == 1
    assert _listed(client, directory) == 0
    _seconds_pass()
    since = int(time.time()) - 1
    bob.register()
    _retry(start_jobs(kamailio_rpc=registrar.rpc_url).flush, database)
    assert _in_memory(registrar) == 1
    _wait_until_written(database, since)
    assert _listed(client, directory) == 1
    assert database.execute("select superseded from flush").fetchone() == (1,)
    assert _flush_facts(database) == (True, 0)


def test_a_retry_removes_what_has_not_registered_again(
    registrar: Proxy,
    bob: Phone,
    start_api: StartApi,
    start_jobs: StartJobs,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """DELETE while Kamailio is unreachable, then the worker's retry: the binding is gone from memory and table."""
    client = start_api(kamailio_rpc=NOWHERE)
    bob.register()
    _wait_until_written(database)
    _seconds_pass()
    assert _delete(client, directory)["pending"] == 1
    assert _in_memory(registrar) == 1
    jobs = start_jobs(kamailio_rpc=registrar.rpc_url)
    _retry(jobs.flush, database)
    assert (_in_memory(registrar), _listed(client, directory)) == (0, 0)
    wait_until(lambda: _rows(database) == 0, 3 * TIMER + 2, "the row to go")
    registrar.restart()
    assert (_in_memory(registrar), _listed(client, directory)) == (0, 0)
    assert _flush_facts(database) == (True, 0)


def _flush_facts(database: psycopg.Connection) -> tuple[Any, ...] | None:
    return database.execute(
        "select finished_at is not null, (select count(*) from flush_binding where settled_at is null) from flush"
    ).fetchone()


def _retry(flush: Callable[[int], dict[str, int]], database: psycopg.Connection) -> None:
    """Run the worker's retries until every node has confirmed each binding."""
    database.execute("update flush_binding set due_at = now()")

    def settled() -> bool:
        flush(0)
        return _flush_facts(database) in {(True, 0), None}

    wait_until(settled, 10, "every node to confirm")


def test_nothing_comes_back_with_a_crash_of_kamailio(
    registrar: Proxy,
    bob: Phone,
    start_api: StartApi,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """SIGKILL right after the DELETE. A binding that Kamailio loads again (db_mode 2) is removed again."""
    client = start_api(kamailio_rpc=registrar.rpc_url)
    bob.register()
    _wait_until_written(database)
    _delete(client, directory)
    registrar.kill()
    registrar.start()
    assert _listed(client, directory) == 0
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url, REGISTRATIONS_SYNC_FLUSH_GRACE="1")
    database.execute("update flush_binding set due_at = now()")
    wait_until(lambda: _in_memory(registrar) == 0 and _rows(database) == 0, 20, "the binding to be gone for good")
    wait_until(lambda: _left(database) == 0, 20, "nothing to be left to hide")
    assert _listed(client, directory) == 0


def test_a_row_that_usrloc_left_behind_is_deleted(
    registrar: Proxy,
    bob: Phone,
    start_api: StartApi,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """After an outage of PostgreSQL a row may stay without a binding. The flush hides it and the worker deletes it."""
    client = start_api(kamailio_rpc=registrar.rpc_url)
    database.execute(
        "insert into location (ruid, username, domain, contact, expires, last_modified, server_id) values "
        "('uloc-orphan', 'bob', 'child.test', 'sip:bob@192.0.2.1', extract(epoch from now()) + 600, "
        "extract(epoch from now()) - 5, 1)"
    )
    assert _delete(client, directory)["flushed"] == 1
    assert _listed(client, directory) == 0
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url, REGISTRATIONS_SYNC_FLUSH_GRACE="1")
    database.execute("update flush_binding set due_at = now()")
    wait_until(lambda: _rows(database) == 0 and _left(database) == 0, 20, "the row to be deleted")
    assert bob.register().status == 200
    wait_until(lambda: _listed(client, directory) == 1, 2 * TIMER + 2, "bob to be listed")


@pytest.mark.parametrize("registrar", [2], indirect=True, ids=["write-back"])
def test_a_phone_without_a_row_yet_is_flushed_with_its_account(
    registrar: Proxy, bob: Phone, start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """db_mode 2 writes late. The flush of the account removes a binding from memory that has no row yet."""
    client = start_api(kamailio_rpc=registrar.rpc_url)
    wait_until(lambda: bob.register().status == 200 and _rows(database) == 0, 10, "a binding without a row")
    _delete(client, directory, "")
    assert _in_memory(registrar) == 0
    registrar.stop()
    assert _rows(database) == 0
