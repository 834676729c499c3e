"""Contacts that are too long for Kamailio's schema, such as those of phones with push tokens."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from kamailio import usrloc
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.adoption.steps import REALM, adopt, done, stock
from tests.stand.phone import Phone

PUSH = (
    "sip:mob@192.0.2.77:5071;transport=tls;pn-provider=apns;pn-prid="
    + "AB" * 200
    + "%3Avoip%26"
    + "CD" * 60
    + ";pn-param=ABCD1234.org.linphone.phone.remote&voip"
)
LONGER = 'modparam("registrar", "contact_max_size", 1024)\n'
WAYS = {
    "before": ("alter table location alter column contact type varchar(1024)",),
    "widen": ("registrations-db", "widen", "contact", "1024"),
    "alter": ("registrations-db", "alter", "alter table location alter column contact type varchar(1024)"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_contact_of_642_bytes(kamdbctl_url: str, tmp_path: Path, way: str) -> None:
    """The column is widened by SQL before adoption, or by our command while Kamailio runs; a view of it stays."""
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path, lines=LONGER) as proxy,
    ):
        if way == "before":
            database.execute(WAYS[way][0].encode())
        database.execute("insert into subscriber (username, domain) values ('mob', %s)", (REALM,))
        database.execute("create view my_phones as select username, contact from location")
        proxy.start()
        adopt(proxy, kamdbctl_url)
        if way != "before":
            done(proxy, kamdbctl_url, *WAYS[way])
        assert len(PUSH) == 642
        with Phone("mob", REALM, "", proxy=("127.0.0.1", proxy.port), contact=PUSH) as phone:
            assert phone.register().status == 200
            listed = "select contact, contact_ip, contact_port from registrations"
            assert database.execute(listed).fetchall() == [(PUSH, "192.0.2.77", "5071")]
            assert database.execute("select contact from my_phones").fetchall() == [(PUSH,)]
            with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
                assert [each.address for each in usrloc.lookup(client, "mob")] == [PUSH]
            done(proxy, kamdbctl_url, "registrations-sync", "once")
            done(proxy, kamdbctl_url, "registrations-sync", "flush", REALM, "mob", "--wait")
            assert database.execute("select count(*) from location").fetchone() == (0,)
