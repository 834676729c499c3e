"""A node gets its first server_id when it is adopted."""

from __future__ import annotations

from pathlib import Path

import psycopg

from kamailio import usrloc
from kamailio.rpc import JsonRpcClient
from kamailio.transports import transport_for
from tests.adoption.steps import REALM, adopt, run, stock
from tests.stand.phone import Phone


def test_phones_from_before_the_number_stay(kamdbctl_url: str, tmp_path: Path) -> None:
    """They are in memory as in lists, a refresh makes no second row, and an un-REGISTER takes the row away."""
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path) as proxy,
    ):
        proxy.start()
        with Phone("anna", REALM, "", proxy=("127.0.0.1", proxy.port)) as phone:
            assert phone.register().status == 200
            contact = phone.contact
            adopt(proxy, kamdbctl_url, "--define", "KAMAILIO_SERVER_ID=2")
            listed = "select contact from registrations"
            assert database.execute(listed).fetchall() == [(contact,)]
            with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
                assert [each.address for each in usrloc.lookup(client, "anna")] == [contact]
            assert phone.register().status == 200
            assert database.execute(listed).fetchall() == [(contact,)]
            assert database.execute("select count(*) from location").fetchone() == (1,)
            checked = run(proxy, kamdbctl_url, "registrations-sync", "check").stdout
            assert [line for line in checked.splitlines() if "server_id" in line and not line.startswith("OK")] == []
            assert phone.unregister().status == 200
            assert database.execute("select count(*) from location").fetchone() == (0,)
