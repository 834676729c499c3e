"""With a synchronous standby, a client is promised only what the standby has as well."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster, replica
from tests.stand.process import wait_until

REGISTRATIONS = "/v2/accounts/child/registrations"
WAITING = "select pid from pg_stat_activity where application_name = 'registrations-api' and wait_event = 'SyncRep'"


class Synchronous:
    """Sets the standbys that commits wait for. Its own sessions and the test's wait for none."""

    def __init__(self, postgres: Cluster) -> None:
        self._url = postgres.url()

    def set(self, names: str) -> None:
        """Set the names as in postgresql.conf, and return once they are in effect."""
        self._row(f"alter system set synchronous_standby_names = '{names}'")
        self._row("select pg_reload_conf()")
        wait_until(lambda: self._row("show synchronous_standby_names") == (names,), 10, "the setting")

    def waiting(self) -> Any:
        """Return the process ID of the API's waiting session."""
        return self._row(WAITING)

    def _row(self, query: str) -> Any:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchone() if cursor.description else None


@pytest.fixture
def synchronous(postgres: Cluster, database: psycopg.Connection) -> Iterator[Synchronous]:
    database.execute("set synchronous_commit = local")
    made = Synchronous(postgres)
    yield made
    made.set("")


def _headers(directory: Directory) -> dict[str, str]:
    return {"X-Auth-Token": directory.tokens["child"]}


def _said(response: Any) -> tuple[int, str | None]:
    return response.status_code, response.get_json().get("message")


def test_a_flush_is_a_success_only_if_the_synchronous_standby_has_it(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    synchronous: Synchronous,
    start_api: StartApi,
) -> None:
    """Without the standby a client gets a 503 and no session keeps waiting. Earlier promises survive a failover."""
    http = start_api(statement_timeout=0.5)
    headers = _headers(directory)
    add_binding("bob", "child.test")
    with replica(tmp_path / "replica", of=postgres) as standby:
        synchronous.set("*")
        kept = http.delete(f"{REGISTRATIONS}/bob", headers=headers)
        assert kept.status_code == 200
        standby.stop()
        add_binding("carol", "child.test")
        refused = http.delete(REGISTRATIONS, headers=headers)
        assert _said(refused) == (503, "datastore_unreachable")
        assert int(refused.headers["Retry-After"]) > 0
        wait_until(lambda: synchronous.waiting() is None, 10, "the session to end")
        assert _said(http.get("/ready"))[0] == 503
        standby.start()
        wait_until(lambda: http.delete(REGISTRATIONS, headers=headers).status_code == 200, 20, "the standby")
        with postgres.stopped():
            standby.promote()
            with psycopg.connect(standby.url(database.info.dbname)) as promoted:
                found = promoted.execute(
                    "select id from flush where id = %s", (kept.get_json()["flush_id"],)
                ).fetchone()
                assert found is not None
    database.close()  # the primary was stopped


@pytest.fixture(params=["notice", "error"])
def flush_in_background(
    request: pytest.FixtureRequest,
    database: psycopg.Connection,
    start_api: StartApi,
    directory: Directory,
    add_binding: AddBinding,
    synchronous: Synchronous,
) -> Iterator[Future[Any]]:
    """A DELETE that waits for a missing standby, longer than any test; in one case warnings are switched off."""
    database.execute(f"alter database {database.info.dbname} set client_min_messages = {request.param}")
    http = start_api(statement_timeout=300)
    add_binding("bob", "child.test")
    synchronous.set("away")
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(http.delete, REGISTRATIONS, headers=_headers(directory))
        wait_until(lambda: synchronous.waiting() is not None, 20, "the commit to wait")
        yield answer


@pytest.mark.parametrize("ended_by", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_somebody_ends_the_wait_of_is_no_success(
    database: psycopg.Connection, synchronous: Synchronous, flush_in_background: Future[Any], ended_by: str
) -> None:
    """PostgreSQL reports success with a warning. But only the primary has the commit, and could lose it."""
    assert not flush_in_background.done()
    database.execute(f"select {ended_by}(%s)", synchronous.waiting())
    assert _said(flush_in_background.result(timeout=30)) == (503, "datastore_unreachable")


def test_a_commit_is_a_success_once_no_standby_is_waited_for(
    synchronous: Synchronous, flush_in_background: Future[Any]
) -> None:
    """This is what Patroni does when it loses the standby: it switches synchronous mode off."""
    assert not flush_in_background.done()
    synchronous.set("")
    assert flush_in_background.result(timeout=30).status_code == 200


def test_reads_wait_for_no_standby(
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    synchronous: Synchronous,
    http: FlaskClient,
) -> None:
    """They do not wait although the use of the token is recorded."""
    add_binding("bob", "child.test")
    database.execute("update auth_token set last_used_at = now() - interval '1 hour'")
    synchronous.set("away")
    for path in (REGISTRATIONS, f"{REGISTRATIONS}/count"):
        assert http.get(path, headers=_headers(directory)).status_code == 200
    noted = "select now() - last_used_at < interval '1 hour' from auth_token where account_id = 'child'"
    assert database.execute(noted).fetchone() == (True,)


def test_a_promise_waits_even_where_commits_do_not(
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    synchronous: Synchronous,
    start_api: StartApi,
) -> None:
    """With synchronous_commit=off a crash could lose a promise, so the API does not use it for promises."""
    database.execute(f"alter database {database.info.dbname} set synchronous_commit = off")
    http = start_api(statement_timeout=0.5)
    add_binding("bob", "child.test")
    synchronous.set("away")
    assert _said(http.delete(REGISTRATIONS, headers=_headers(directory))) == (503, "datastore_unreachable")
    synchronous.set("")
    assert http.delete(REGISTRATIONS, headers=_headers(directory)).status_code == 200
