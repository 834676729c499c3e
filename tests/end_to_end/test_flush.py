"""DELETE: Kamailio has forgotten the binding, its row is gone, and the list no longer has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until


@pytest.fixture(params=[1, 2, 3], ids=["write-through", "write-back", "database-only"])
def registrar(
    request: pytest.FixtureRequest,
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
) -> Proxy:
    """A proxy in each of usrloc's modes."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    return start_kamailio(database_url=url, db_mode=request.param)


@pytest.fixture(params=["http", "datagram"])
def client(request: pytest.FixtureRequest, start_api: StartApi, registrar: Proxy) -> FlaskClient:
    """An API that reaches it by either transport."""
    return start_api(kamailio_rpc=registrar.rpc_url if request.param == "http" else registrar.rpc_socket_url)


@pytest.fixture
def phones(registrar: Proxy, database: psycopg.Connection) -> Iterator[list[Phone]]:
    """Two phones of alice, one of bob, all registered and their rows written."""
    users = [("Alice", "reseller.test", "udp"), ("Alice", "reseller.test", "tcp"), ("bob", "child.test", "udp")]
    with ExitStack() as stack:
        started = [
            stack.enter_context(Phone(name, realm, "secret", proxy=registrar.sip, transport=transport))  # type: ignore[arg-type]
            for name, realm, transport in users
        ]
        for phone in started:
            assert phone.register().status == 200
        _wait_for_rows(database, 3)
        yield started


def _wait_for_rows(database: psycopg.Connection, expected: int) -> None:
    def rows() -> int:
        row = database.execute("select count(*) from location").fetchone()
        return row[0] if row else 0

    wait_until(lambda: rows() == expected, 10, f"{expected} rows in location")


def _ask(client: FlaskClient, directory: Directory, method: str, account: str, path: str = "") -> Any:
    return client.open(
        f"/v2/accounts/{account}/registrations{path}",
        method=method,
        headers={"X-Auth-Token": directory.tokens[account]},
    )


def test_delete_of_one_username_removes_all_its_bindings(
    client: FlaskClient,
    directory: Directory,
    registrar: Proxy,
    phones: list[Phone],
    database: psycopg.Connection,
) -> None:
    """Both phones of alice are gone from memory, table and list; bob stays; alice may come back at once."""
    response = _ask(client, directory, "DELETE", "reseller", "/ALICE")
    assert (response.status_code, response.get_json()["data"]) == (200, "ok")
    assert (response.get_json()["flushed"], response.get_json()["pending"]) == (2, 0)
    with registrar.rpc() as rpc:
        assert usrloc.lookup(rpc, "alice@reseller.test") == ()
        assert len(usrloc.lookup(rpc, "bob@child.test")) == 1
    assert database.execute("select username from location").fetchall() == [("bob",)]
    assert _ask(client, directory, "GET", "reseller").get_json()["data"] == []
    assert phones[0].register().status == 200
    _wait_for_rows(database, 2)
    assert _ask(client, directory, "GET", "reseller", "/count").get_json()["data"] == {"count": 1}


def test_delete_of_all_leaves_the_other_accounts_alone(
    client: FlaskClient, directory: Directory, phones: list[Phone], database: psycopg.Connection
) -> None:
    """The count is 0 at once; a descendant's registrations stay, they are another account's."""
    assert _ask(client, directory, "DELETE", "reseller").get_json()["data"] == "ok"
    assert _ask(client, directory, "GET", "reseller", "/count").get_json()["data"] == {"count": 0}
    assert _ask(client, directory, "GET", "child", "/count").get_json()["data"] == {"count": 1}
    assert _ask(client, directory, "DELETE", "child").get_json()["flushed"] == 1
    assert database.execute("select count(*) from location").fetchone() == (0,)


def test_delete_of_a_device_that_is_not_registered_is_ok(
    client: FlaskClient, directory: Directory, registrar: Proxy
) -> None:
    """The device exists, so there is nothing to complain about."""
    response = _ask(client, directory, "DELETE", "child", "/bob")
    assert (response.status_code, response.get_json()["flushed"]) == (200, 0)


def test_a_row_that_no_memory_knows_goes_too(
    client: FlaskClient, directory: Directory, registrar: Proxy, database: psycopg.Connection
) -> None:
    """An orphan of an outage would otherwise show until it expires, and Kamailio cannot remove it."""
    database.execute(
        "insert into location (ruid, username, domain, expires, last_modified, server_id) values "
        "('uloc-orphan', 'bob', 'child.test', extract(epoch from now()) + 600, extract(epoch from now()), 1)"
    )
    assert _ask(client, directory, "DELETE", "child", "/bob").get_json()["flushed"] == 1
    assert database.execute("select count(*) from location").fetchone() == (0,)
