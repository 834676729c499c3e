"""Two nodes on one table without server_id_filter: each loads all rows when it starts, so a flush goes to both."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from kamailio import usrloc
from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

BOB = "bob@child.test"


@pytest.fixture(params=["0", "1"], ids=["all rows", "own rows"])
def filters(request: pytest.FixtureRequest) -> bool:
    """Whether the nodes load only their own rows."""
    return bool(request.param == "1")


@pytest.fixture
def pair(
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    *,
    filters: bool,
) -> Iterator[tuple[Proxy, Proxy]]:
    """Two nodes in db_mode 1. bob registered at the first one before the second one started."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    environment = {"KAMAILIO_SERVER_ID_FILTER": str(int(filters))}
    first = start_kamailio(database_url=url, server_id=1, environment=environment)
    with Phone("bob", "child.test", "secret", proxy=first.sip) as phone:
        assert phone.register().ok
        yield first, start_kamailio(database_url=url, server_id=2, environment=environment)


def _held(proxy: Proxy) -> int:
    with proxy.rpc() as client:
        return len(usrloc.lookup(client, BOB))


def _rpc(pair: tuple[Proxy, Proxy]) -> str:
    return f"1={pair[0].rpc_url},2={pair[1].rpc_url}"


def test_who_may_hold_it_is_asked_of_the_nodes(pair: tuple[Proxy, Proxy], *, filters: bool) -> None:
    """All nodes may hold it, unless every node says that it loads only its own rows."""
    nodes = Nodes(KamailioSettings(kamailio_rpc=_rpc(pair)))
    assert [_held(each) for each in pair] == [1, 0 if filters else 1]
    assert nodes.holders(1) == ((1,) if filters else (1, 2))


def test_a_flush_removes_it_wherever_it_is(
    pair: tuple[Proxy, Proxy], start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """The API alone removes it from both memories at once."""
    client = start_api(kamailio_rpc=_rpc(pair))
    headers = {"X-Auth-Token": directory.tokens["child"]}
    answer = client.delete("/v2/accounts/child/registrations/bob", headers=headers).get_json()
    assert (answer["flushed"], answer["pending"]) == (1, 0)
    assert [_held(each) for each in pair] == [0, 0]
    assert database.execute("select count(*) from location").fetchone() == (0,)


def test_the_worker_tells_a_node_that_was_away(
    pair: tuple[Proxy, Proxy], start_api: StartApi, start_worker: StartWorker, directory: Directory, *, filters: bool
) -> None:
    """A node that was unreachable during the flush still holds the binding. The worker's retry removes it."""
    first, second = pair
    client = start_api(kamailio_rpc=f"1={first.rpc_url},2={NOWHERE}")
    headers = {"X-Auth-Token": directory.tokens["child"]}
    answer = client.delete("/v2/accounts/child/registrations/bob", headers=headers).get_json()
    assert (answer["flushed"], answer["pending"]) == (1, 0)
    assert _held(second) == (0 if filters else 1)
    start_worker(REGISTRATIONS_KAMAILIO_RPC=_rpc(pair))
    wait_until(lambda: _held(second) == 0, 15, "the worker to flush at the second node")
    path = f"/v2/accounts/child/registrations/flushes/{answer['flush_id']}"
    wait_until(
        lambda: "finished" in client.get(path, headers=headers).get_json()["data"], 15, "the flush to be finished"
    )
