"""DELETE removes a binding from Kamailio's memory, from the table and from the list."""

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
from tests.stand.process import wait_until


@pytest.fixture(params=[1, 2, 3], ids=["write-through", "write-back", "database-only"])
def registrar(
    request: pytest.FixtureRequest, start_kamailio: StartKamailio, directory: Directory, kamailio_url: str
) -> Proxy:
    """A proxy in each db_mode."""
    return start_kamailio(database_url=kamailio_url, db_mode=request.param)


@pytest.fixture(params=["http", "datagram"])
def client(request: pytest.FixtureRequest, start_api: StartApi, registrar: Proxy) -> FlaskClient:
    """An API that reaches the proxy by each RPC transport."""
    return start_api(kamailio_rpc=registrar.rpc_url if request.param == "http" else registrar.rpc_socket_url)


@pytest.fixture
def phones(registrar: Proxy, database: psycopg.Connection) -> Iterator[list[Phone]]:
    """Two phones of alice and one of bob. All are registered and their rows are written."""
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
    """Both phones of alice are gone from memory, table and list. bob stays, and alice can register again at once."""
    response = _ask(client, directory, "DELETE", "reseller", "/ALICE")
    assert (response.status_code, response.get_json()["data"]) == (200, "ok")
    # In db_mode 2 the rows stay until Kamailio's timer runs. Until then they are hidden.
    assert response.get_json()["flushed"] + response.get_json()["pending"] == 2
    with registrar.rpc() as rpc:
        assert usrloc.lookup(rpc, "alice@reseller.test") == ()
        assert len(usrloc.lookup(rpc, "bob@child.test")) == 1
    assert _ask(client, directory, "GET", "reseller").get_json()["data"] == []
    _wait_for_rows(database, 1)
    assert database.execute("select username from location").fetchall() == [("bob",)]
    assert phones[0].register().status == 200
    _wait_for_rows(database, 2)
    assert _ask(client, directory, "GET", "reseller", "/count").get_json()["data"] == {"count": 1}


def test_delete_of_all_leaves_the_other_accounts_alone(
    client: FlaskClient, directory: Directory, phones: list[Phone], database: psycopg.Connection
) -> None:
    """The count is 0 at once. A descendant's registrations stay: they belong to another account."""
    assert _ask(client, directory, "DELETE", "reseller").get_json()["data"] == "ok"
    assert _ask(client, directory, "GET", "reseller", "/count").get_json()["data"] == {"count": 0}
    assert _ask(client, directory, "GET", "child", "/count").get_json()["data"] == {"count": 1}
    assert _ask(client, directory, "DELETE", "child").status_code == 200
    _wait_for_rows(database, 0)


def test_delete_of_a_device_that_is_not_registered_is_ok(
    client: FlaskClient, directory: Directory, registrar: Proxy
) -> None:
    """200, because the device exists."""
    response = _ask(client, directory, "DELETE", "child", "/bob")
    assert (response.status_code, response.get_json()["flushed"]) == (200, 0)


def test_a_row_that_this_kamailio_does_not_know_is_hidden(
    client: FlaskClient, directory: Directory, registrar: Proxy, database: psycopg.Connection
) -> None:
    """An orphaned row is hidden. If it belongs to another node, the phone's next refresh shows it again."""
    database.execute(
        "insert into location (ruid, username, domain, expires, last_modified, server_id) values "
        "('uloc-orphan', 'bob', 'child.test', extract(epoch from now()) + 600, extract(epoch from now()) - 5, 2)"
    )
    answer = _ask(client, directory, "DELETE", "child", "/bob").get_json()
    assert (answer["flushed"], answer["pending"]) == (1, 0)
    assert _ask(client, directory, "GET", "child", "/count").get_json()["data"] == {"count": 0}
    if database.execute("select 1 from location").fetchone() is None:
        return  # db_mode 3: the table is the memory
    database.execute("update location set last_modified = extract(epoch from now())")
    assert _ask(client, directory, "GET", "child", "/count").get_json()["data"] == {"count": 1}


def test_an_aor_that_usrloc_refuses_keeps_no_other_from_being_flushed(
    client: FlaskClient, directory: Directory, phones: list[Phone], database: psycopg.Connection
) -> None:
    """A row without a domain cannot be in a memory that keeps domains. It is hidden, and the others are flushed."""
    database.execute(
        "insert into location (ruid, username, domain, account_id, enriched_at, expires) "
        "values ('uloc-ghost', 'ghost', null, 'child', now(), 0)"
    )
    assert _ask(client, directory, "DELETE", "child").status_code == 200
    assert _ask(client, directory, "GET", "child", "/count").get_json()["data"] == {"count": 0}


def test_a_refusing_kamailio_leaves_the_flush_pending(
    start_api: StartApi, directory: Directory, registrar: Proxy, phones: list[Phone]
) -> None:
    """Something answers at the URL but does not remove the binding. The flush is promised, so the list is empty."""
    client = start_api(kamailio_rpc=registrar.rpc_url.replace("/RPC", "/wrong"))
    answer = _ask(client, directory, "DELETE", "child", "/bob")
    assert (answer.status_code, answer.get_json()["pending"]) == (200, 1)
    assert _ask(client, directory, "GET", "child", "/count").get_json()["data"] == {"count": 0}


def test_what_comes_back_with_a_restart_can_be_flushed_again(
    client: FlaskClient, directory: Directory, registrar: Proxy, database: psycopg.Connection
) -> None:
    """Kamailio loads a hidden row into its memory when it starts. The next flush removes it there."""
    database.execute(
        "insert into location (ruid, username, domain, contact, expires, last_modified, server_id) values "
        "('uloc-orphan', 'bob', 'child.test', 'sip:bob@192.0.2.1', extract(epoch from now()) + 600, "
        "extract(epoch from now()) - 5, 1)"
    )
    assert _ask(client, directory, "DELETE", "child", "/bob").status_code == 200
    registrar.restart()
    assert _ask(client, directory, "DELETE", "child", "/bob").status_code == 200
    with registrar.rpc() as rpc:
        assert usrloc.lookup(rpc, "bob@child.test") == ()
    _wait_for_rows(database, 0)
