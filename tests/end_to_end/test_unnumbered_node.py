"""One node whose URL has no number: flush records, logs and metrics have the server_id that its rows have."""

from __future__ import annotations

import psycopg
import pytest

from kamailio.nodes import Nodes
from kamailio.rpc import Observation
from kamailio.settings import KamailioSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.metrics import scrape
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import free_port, wait_until


@pytest.fixture
def registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> Proxy:
    """A proxy with server_id 7, on the test's directory."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    return start_kamailio(database_url=url, server_id=7)


def test_a_flush_is_recorded_for_the_server_id_of_the_rows(
    registrar: Proxy, start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """This holds for a flush that the API carries out."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as bob:
        assert bob.register().ok
        client = start_api(registrar.rpc_url)
        done = client.delete("/v2/accounts/child/registrations/bob?check_sync=false", headers=headers).get_json()
    path = f"/v2/accounts/child/registrations/flushes/{done['flush_id']}"
    (node,) = client.get(path, headers=headers).get_json()["data"]["nodes"]
    assert (node["server_id"], node.get("error")) == (7, None)


def test_the_record_of_a_node_that_was_away_gets_its_number_when_it_is_back(
    registrar: Proxy,
    start_api: StartApi,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
) -> None:
    """Before that the number is unknown. Afterwards there is one record, and the metrics have the number too."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as bob:
        assert bob.register().ok
        start_api(NOWHERE).delete("/v2/accounts/child/registrations/bob?check_sync=false", headers=headers)
        records = "select node, attempts, confirmed_at is not null from flush_node"
        assert database.execute(records).fetchall() == [(0, 1, False)]
        port = free_port()
        start_worker(
            REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url, REGISTRATIONS_SYNC_METRICS_LISTEN=f"127.0.0.1:{port}"
        )
        finished = "select count(*) from flush where finished_at is not null"
        wait_until(lambda: database.execute(finished).fetchone() == (1,), 40, "the worker to finish the flush")
    assert database.execute(records).fetchall() == [(7, 2, True)]
    assert scrape(port).labels("kamailio_registrations_rpc_duration_seconds_count", "server_id") == {"7"}


def test_a_node_that_does_not_tell_is_number_0() -> None:
    """It was never reached, but its calls are counted."""
    seen: list[tuple[int, Observation]] = []
    nodes = Nodes(KamailioSettings(kamailio_rpc=NOWHERE), observe=lambda node, what: seen.append((node, what)))
    nodes.on_each(nodes.ids, lambda _, client: client.call("core.uptime"))
    assert [(node, what.failure) for node, what in seen] == [(0, "KamailioUnreachable")]
