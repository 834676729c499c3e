"""A proxy with registered phones gets its first server_id: it keeps them, and `check` reports the state correctly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kamailio import usrloc
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.stand.phone import Phone
from tests.stand.stock import StockProxy, stock_proxy, stock_save

BIN = Path(sys.executable).parent
try:
    stock_save()
except (FileNotFoundError, ValueError):
    pytest.skip("no stock kamailio.cfg of the distribution", allow_module_level=True)
OWN_MODE = {'modparam("usrloc", "db_mode", 2)': 'modparam("usrloc", "db_mode", 1)'}


def _patch(proxy: StockProxy, *defines: str) -> subprocess.CompletedProcess[str]:
    options = [part for each in defines for part in ("--define", each)]
    command: list[str | Path] = [BIN / "registrations-kamailio", "patch", "--write", *options, proxy.configuration]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _check(url: str, proxy: StockProxy) -> dict[str, Any]:
    variables = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": proxy.rpc_url}
    command: list[str | Path] = [BIN / "registrations-sync", "check", "--json"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)
    return {each["id"]: each for each in json.loads(done.stdout)["findings"]}


def _held(proxy: StockProxy) -> list[str]:
    with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
        return [contact.address for contact in usrloc.lookup(client, "anna")]


@pytest.fixture
def database(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A connection to a database of kamdbctl."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        yield connection


def _listed(database: psycopg.Connection) -> list[tuple[str, int]]:
    return database.execute("select contact, server_id from registrations order by id").fetchall()


def test_phones_stay_are_listed_once_and_the_filter_waits(
    kamdbctl_url: str, tmp_path: Path, database: psycopg.Connection
) -> None:
    """Old rows are loaded and get the number with their refresh. Until then `patch` refuses the filter."""
    with stock_proxy(tmp_path, database_url=kamdbctl_url, edits=OWN_MODE) as proxy:
        proxy.start()
        with Phone("anna", "example.com", "secret", proxy=("127.0.0.1", proxy.port)) as phone:
            assert phone.register().ok
            migrate(DatabaseSettings(database_url=kamdbctl_url))
            assert _patch(proxy).returncode == 0
            both = ["KAMAILIO_SERVER_ID=2", "KAMAILIO_SERVER_ID_FILTER=1"]
            refused = _patch(proxy, *both)
            assert refused.returncode == 1
            assert "Server 2 would forget the rows of 0" in refused.stderr
            assert _patch(proxy, both[0]).returncode == 0
            proxy.stop()
            proxy.start()
            assert [contact for contact, _ in _listed(database)] == _held(proxy) != []
            found = _check(kamdbctl_url, proxy)
            assert found["server_id_unknown"]["severity"] == "note"
            assert "0 (1)" in found["server_id_unknown"]["what"]
            assert phone.register().ok
            assert [server_id for _, server_id in _listed(database)] == [2]
            assert "server_id_unknown" not in _check(kamdbctl_url, proxy)
            assert _patch(proxy, *both).returncode == 0
            proxy.stop()
            proxy.start()
            assert len(_held(proxy)) == 1
            assert "server_id_unknown" not in _check(kamdbctl_url, proxy)
            assert phone.unregister().status == 200
            assert database.execute("select count(*) from location").fetchone() == (0,)


def test_a_filter_that_leaves_rows_out_is_a_fault(
    kamdbctl_url: str, tmp_path: Path, database: psycopg.Connection
) -> None:
    """This happens if an operator changes the server_id of a node that filters by it."""
    with stock_proxy(tmp_path, database_url=kamdbctl_url, edits=OWN_MODE) as proxy:
        proxy.start()
        with Phone("anna", "example.com", "secret", proxy=("127.0.0.1", proxy.port)) as phone:
            assert phone.register().ok
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        assert _patch(proxy, "KAMAILIO_SERVER_ID=2").returncode == 0
        proxy.stop()
        proxy.environment["KAMAILIO_SERVER_ID_FILTER"] = "1"
        proxy.start()
        assert _held(proxy) == []
        found = _check(kamdbctl_url, proxy)["server_id_unknown"]
        assert found["severity"] == "fault"
        assert "0 (1)" in found["what"]
        assert "the list shows them twice" in found["why"]
        del proxy.environment["KAMAILIO_SERVER_ID_FILTER"]  # the remedy
        proxy.stop()
        proxy.start()
        assert len(_held(proxy)) == 1
        assert _check(kamdbctl_url, proxy)["server_id_unknown"]["severity"] == "note"
