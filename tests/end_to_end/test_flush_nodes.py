"""Two Kamailio nodes on one table: a flush covers both and waits for a node that is down. With and without DMQ."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import free_port, wait_until

BOB = "bob@child.test"


class Pair:
    """Two nodes, with a phone of bob at each."""

    def __init__(self, a: Proxy, b: Proxy, at_a: Phone, at_b: Phone, *, replicated: bool) -> None:
        self.a, self.b, self.at_a, self.at_b, self.replicated = a, b, at_a, at_b, replicated

    @property
    def rpc(self) -> str:
        """The setting that names both nodes."""
        return f"1={self.a.rpc_url},2={self.b.rpc_url}"

    def in_memory(self, node: Proxy) -> set[str]:
        """Return the Call-IDs of bob's bindings at a node."""
        with node.rpc() as rpc:
            return {contact.call_id for contact in usrloc.lookup(rpc, BOB)}


@pytest.fixture(params=[False, True], ids=["apart", "dmq"])
def pair(
    request: pytest.FixtureRequest,
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
) -> Iterator[Pair]:
    """Both nodes in db_mode 1, with server_id 1 and 2. Both phones are registered, and each node knows its bindings."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    ports = {1: free_port(), 2: free_port()}
    nodes = {}
    for server_id, port in ports.items():
        dmq = {"KAMAILIO_DMQ_PEER": f"127.0.0.1:{ports[3 - server_id]}"} if request.param else {}
        nodes[server_id] = start_kamailio(database_url=url, server_id=server_id, sip_port=port, environment=dmq)
    with ExitStack() as phones:
        at_a, at_b = (
            phones.enter_context(Phone("bob", "child.test", "secret", proxy=node.sip)) for node in nodes.values()
        )
        pair = Pair(nodes[1], nodes[2], at_a, at_b, replicated=request.param)
        _register_both(pair)
        yield pair


def _register_both(pair: Pair) -> None:
    assert [pair.at_a.register().status, pair.at_b.register().status] == [200, 200]
    both = {pair.at_a.call_id, pair.at_b.call_id}
    expected = (both, both) if pair.replicated else ({pair.at_a.call_id}, {pair.at_b.call_id})
    wait_until(
        lambda: (pair.in_memory(pair.a), pair.in_memory(pair.b)) == expected, 15, "each node to know what it should"
    )


@pytest.fixture
def client(pair: Pair, start_api: StartApi, start_worker: StartWorker) -> FlaskClient:
    """An API that knows both nodes, with a worker beside it."""
    replicated = str(pair.replicated).lower()
    start_worker(REGISTRATIONS_KAMAILIO_RPC=pair.rpc, REGISTRATIONS_KAMAILIO_REPLICATED=replicated)
    return start_api(kamailio_rpc=pair.rpc, kamailio_replicated=pair.replicated)


def _delete(client: FlaskClient, directory: Directory) -> dict[str, Any]:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    response = client.delete("/v2/accounts/child/registrations/bob", headers=headers)
    envelope: dict[str, Any] = response.get_json()
    assert (response.status_code, envelope["data"]) == (200, "ok")
    return envelope


def _listed(client: FlaskClient, directory: Directory) -> set[str]:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    listed = client.get("/v2/accounts/child/registrations", headers=headers).get_json()["data"]
    return {each["call_id"] for each in listed}


def _flush(client: FlaskClient, directory: Directory, flush_id: str) -> dict[str, Any]:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    shown: dict[str, Any] = client.get(
        f"/v2/accounts/child/registrations/flushes/{flush_id}", headers=headers
    ).get_json()["data"]
    return shown


def _rows(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from location").fetchone()
    return row[0] if row else 0


def test_one_delete_removes_the_phone_at_each_node(
    pair: Pair, client: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """When the client gets its answer, the binding is gone from both memories, the table and the list."""
    answer = _delete(client, directory)
    assert (answer["flushed"], answer["pending"]) == (2, 0)
    assert _listed(client, directory) == set()
    wait_until(lambda: not pair.in_memory(pair.a) | pair.in_memory(pair.b), 5, "both memories to be clean")
    wait_until(lambda: _rows(database) == 0, 5, "the rows to be gone")
    _register_both(pair)
    assert _listed(client, directory) == {pair.at_a.call_id, pair.at_b.call_id}


def test_a_node_that_is_down_is_told_when_it_is_back(
    pair: Pair, client: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """200 with one pending. The node loads the hidden row when it starts, and the worker removes it there."""
    pair.b.kill()
    answer = _delete(client, directory)
    assert (answer["flushed"], answer["pending"]) == (1, 1)
    assert _listed(client, directory) == set()
    assert pair.in_memory(pair.a) == set()
    shown = _flush(client, directory, answer["flush_id"])
    assert "error" in next(node for node in shown["nodes"] if node["server_id"] == 2)
    pair.b.start()
    wait_until(
        lambda: not pair.in_memory(pair.b) and _rows(database) == 0, 15, "the worker to flush at the second node"
    )
    assert _listed(client, directory) == set()

    def finished() -> bool:
        shown = _flush(client, directory, answer["flush_id"])
        return "finished" in shown and shown["pending"] == 0 and all("confirmed" in node for node in shown["nodes"])

    wait_until(finished, 15, "the flush to be finished")


def test_a_phone_that_came_back_to_the_node_stays(
    pair: Pair, client: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """A phone that registers at the restarted node before the worker's retry is not part of the flush."""
    pair.b.kill()
    answer = _delete(client, directory)
    database.execute("update flush_binding set due_at = now() + interval '1 day'")  # the phone must be first
    pair.b.start()
    begin = int(time.time())
    wait_until(lambda: time.time() >= begin + 1.02, 2, "the next second")
    wait_until(lambda: pair.at_b.register().status == 200, 10, "the phone to be registered")
    wait_until(lambda: _listed(client, directory) == {pair.at_b.call_id}, 5, "it to be listed")
    database.execute("update flush_binding set due_at = now()")
    wait_until(
        lambda: "finished" in _flush(client, directory, answer["flush_id"]), 15, "the worker to ask the second node"
    )
    assert pair.in_memory(pair.b) == {pair.at_b.call_id}
    assert _listed(client, directory) == {pair.at_b.call_id}


def test_a_binding_of_a_node_that_is_not_set_is_looked_for_at_all(
    pair: Pair, start_api: StartApi, directory: Directory
) -> None:
    """Node 2 is configured with a server_id that no row has. Its phone is still found."""
    client = start_api(kamailio_rpc=f"1={pair.a.rpc_url},7={pair.b.rpc_url}", kamailio_replicated=pair.replicated)
    answer = _delete(client, directory)
    assert (answer["flushed"], answer["pending"]) == (2, 0)
    wait_until(lambda: not pair.in_memory(pair.a) | pair.in_memory(pair.b), 5, "both memories to be clean")


def test_a_dead_node_does_not_delay_the_other(
    pair: Pair, start_api: StartApi, start_worker: StartWorker, directory: Directory, database: psycopg.Connection
) -> None:
    """The worker flushes at one node while the other one accepts connections but never answers."""
    client = start_api(kamailio_rpc=f"1={NOWHERE},2={NOWHERE}")
    assert _delete(client, directory)["pending"] == 2
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rpc = f"1={pair.a.rpc_url},2=http://127.0.0.1:{silent.getsockname()[1]}/RPC"
        start_worker(REGISTRATIONS_KAMAILIO_RPC=rpc, REGISTRATIONS_SYNC_FLUSH_BUDGET="300")
        wait_until(lambda: pair.at_a.call_id not in pair.in_memory(pair.a), 15, "the flush at the first node")
