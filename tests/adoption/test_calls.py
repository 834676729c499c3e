"""A phone that listens on another port than it registers from: where calls go, and which address the list shows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import psycopg
import pytest

from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.adoption.steps import REALM, adopt, done, stock
from tests.stand.caller import Caller
from tests.stand.listener import Listener
from tests.stand.phone import Phone
from tests.stand.process import free_port, wait_until
from tests.stand.sip import Request
from tests.stand.stock import StockProxy


def _lose_connection(proxy: StockProxy, phone: Phone) -> None:
    """Close the connection, wait until Kamailio has noticed, and let usrloc check its bindings."""
    with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
        opened = _opened(client)
        phone.close()
        wait_until(lambda: _opened(client) < opened, 10, "Kamailio to see the end of the connection")
        client.call("ul.flush")


def _opened(client: JsonRpcClient) -> int:
    told = client.call("core.tcp_info")
    assert isinstance(told, dict)
    return int(told["opened_connections"])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_calls_go_where_the_contact_says(kamdbctl_url: str, tmp_path: Path, transport: Literal["udp", "tcp"]) -> None:
    """Calls go there after adoption, after a refresh, and after the phone closed its connection, as they did before."""
    heard: list[Request] = []

    def answer(request: Request) -> bytes:
        heard.append(request)
        return request.answer(200, "OK", to_tag="1").encode()

    listening = free_port()
    contact = f"sip:2010@127.0.0.1:{listening};transport={transport}"
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path) as proxy,
        Listener(transport, ("127.0.0.1", listening), answer),
    ):
        proxy.start()
        address = ("127.0.0.1", proxy.port)
        with (
            Phone("2010", REALM, "", proxy=address, transport=transport, contact=contact) as phone,
            Caller("caller", REALM, "", proxy=address) as caller,
        ):
            assert phone.register().status == 200
            adopt(proxy, kamdbctl_url)
            assert caller.call(f"sip:2010@{REALM}", call_id="adopted")[-1].status == 200
            assert phone.register().status == 200
            sent_from = str(phone.local[1])
            assert caller.call(f"sip:2010@{REALM}", call_id="refreshed")[-1].status == 200
            done(proxy, kamdbctl_url, "registrations-sync", "once")
            if transport == "tcp":
                _lose_connection(proxy, phone)
                assert caller.call(f"sip:2010@{REALM}", call_id="closed")[-1].status == 200
            steps = ["adopted", "refreshed", "closed"][: 3 if transport == "tcp" else 2]
            assert {(each.headers["Call-ID"], each.uri) for each in heard} == {(step, contact) for step in steps}
            shown = "select contact, contact_port, source_ip, source_port from registrations"
            assert database.execute(shown).fetchall() == [(contact, str(listening), "127.0.0.1", sent_from)]
