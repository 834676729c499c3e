"""An AoR without a user, such as sip:example.com, which the stock proxy registers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.adoption.steps import BIN, REALM, adopt, stock
from tests.stand.phone import Phone
from tests.stand.process import free_port
from tests.stand.stock import StockProxy

# usrloc's use_domain, the transport of JSON-RPC, and whether Kamailio can remove such a binding.
CASES = {
    "without domains": ((), "unix", True),
    "without domains, by HTTP": ((), "http", True),
    "with domains": (("WITH_MULTIDOMAIN",), "unix", False),
    "with domains, by HTTP": (("WITH_MULTIDOMAIN",), "http", True),
}


def _held(proxy: StockProxy) -> int:
    with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
        dumped = client.call("ul.dump")
    assert isinstance(dumped, dict)
    return sum(len(each["Info"]["Contacts"]) for each in dumped["Domains"][0]["Domain"]["AoRs"])


@pytest.mark.parametrize("case", CASES)
def test_it_is_listed_and_a_flush_says_whether_it_is_gone(kamdbctl_url: str, tmp_path: Path, case: str) -> None:
    """If usrloc keeps domains, its commands cannot name the binding: then the flush stays pending, which is true."""
    features, way, can_go = CASES[case]
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path, features=features) as proxy,
    ):
        database.execute("insert into domain (domain, did) values (%s, %s)", (REALM, REALM))
        database.execute("insert into subscriber (username, domain) values ('anna', %s)", (REALM,))
        proxy.start()
        url, options = proxy.rpc_url, []
        if way == "http":
            port = free_port()
            url = f"http://127.0.0.1:{port}/RPC"
            options = ["--define", "KAMAILIO_RPC_LISTEN=127.0.0.1", "--define", f"KAMAILIO_RPC_PORT={port}"]
        with Phone("nobody", REALM, "", proxy=("127.0.0.1", proxy.port)) as phone:
            phone.aor = phone.from_uri = f"sip:{REALM}"
            adopt(proxy, kamdbctl_url, *options)
            assert phone.register().status == 200
            shown = database.execute("select username, realm, account_id from registrations").fetchall()
            assert shown == [("", REALM, REALM)]
            settings = {"REGISTRATIONS_DATABASE_URL": kamdbctl_url, "REGISTRATIONS_KAMAILIO_RPC": url}
            flushed = subprocess.run(
                [BIN / "registrations-sync", "flush", REALM],
                env={**os.environ, **settings},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert f"{int(can_go)} of 1 flushed, {int(not can_go)} pending" in flushed.stdout, flushed.stderr
            assert (flushed.returncode, _held(proxy)) == ((0, 0) if can_go else (1, 1))
