"""Kamailio serves before usrloc has loaded its table. A flush waits until the table is loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from kamailio import usrloc
from kamailio.errors import KamailioUnreachable
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

# This many rows take seconds to load, and the worker retries after one second.
ROWS = 40_000
FIRST, LAST = "phone-1@sibling.test", "bob@child.test"


def _is_there(registrar: Proxy, aor: str) -> bool:
    with registrar.rpc() as rpc:
        try:
            return bool(usrloc.lookup(rpc, aor))
        except KamailioUnreachable:
            return False


def test_a_flush_while_usrloc_loads_is_not_undone_by_the_load(
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    start_api: StartApi,
    start_worker: StartWorker,
) -> None:
    """If usrloc has read a row but not loaded it yet, "not found" is not a confirmation, and the row stays."""
    database.execute(
        "insert into location (ruid, username, domain, contact, callid, cseq, expires, last_modified, server_id, "
        "enriched_at) select 'uloc-1-' || n, 'phone-' || n, 'sibling.test', 'sip:phone-' || n || '@192.0.2.1', "
        "'call-' || n, 1, extract(epoch from now()) + 600, extract(epoch from now()) - 5, 1, now() "
        "from generate_series(1, %s) n",
        (ROWS,),
    )
    database.execute(
        "insert into location (ruid, username, domain, contact, callid, cseq, expires, last_modified, server_id) "
        "values ('uloc-1-bob', 'bob', 'child.test', 'sip:bob@192.0.2.1', 'call', 1, extract(epoch from now()) + 600, "
        "extract(epoch from now()) - 5, 1)"
    )
    registrar = start_kamailio(
        database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"), db_mode=1
    )
    wait_until(lambda: _is_there(registrar, LAST), 60, "the table to be loaded")
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url)
    client = start_api(kamailio_rpc=registrar.rpc_url)

    def flush() -> Any:
        wait_until(lambda: _is_there(registrar, FIRST), 60, "the load to begin", interval=0.005)
        headers = {"X-Auth-Token": directory.tokens["child"]}
        return client.delete("/v2/accounts/child/registrations/bob", headers=headers).get_json()

    registrar.stop()
    with ThreadPoolExecutor() as threads:
        flushed = threads.submit(flush)
        registrar.start()
        assert flushed.result()["data"] == "ok"
    last = f"phone-{ROWS}@sibling.test"
    wait_until(lambda: _is_there(registrar, last) and _left(database) == 0, 60, "loading and flush to be over")
    assert not _is_there(registrar, LAST)
    assert database.execute("select 1 from location where username = 'bob'").fetchone() is None


def _left(database: psycopg.Connection) -> int:
    row = database.execute("select count(*) from flush_binding").fetchone()
    return row[0] if row else 0
