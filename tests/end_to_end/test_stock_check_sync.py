"""check-sync on an adopted stock proxy without NAT handling. Calls go where they went before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from kamailio.notify import Target, check_sync
from kamailio.patching.edits import patched
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from sql.registrations.contacts import find_device_contacts
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.end_to_end.test_unknown_edges import Listener
from tests.fixtures.worker import FetchSources
from tests.stand.phone import Phone
from tests.stand.process import wait_until
from tests.stand.stock import StockProxy, stock_proxy


@pytest.fixture
def database(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """Kamailio's own database, migrated, with one of its users."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("insert into account (id, name, realm) values ('a', 'A', 'example.com')")
        connection.execute("insert into subscriber (username, domain) values ('bob', 'example.com')")
        yield connection


@pytest.fixture
def stock(database: psycopg.Connection, kamdbctl_url: str, tmp_path: Path) -> Iterator[StockProxy]:
    """The distribution's kamailio.cfg without features, patched."""
    with stock_proxy(tmp_path, database_url=kamdbctl_url) as proxy:
        include = Path(__file__).parents[2] / "kamailio" / "registrations.cfg"
        (tmp_path / "registrations.cfg").write_bytes(include.read_bytes())
        text = proxy.configuration.read_text(encoding="utf-8")
        proxy.configuration.write_text(patched(text, defines={"KAMAILIO_DB_MODE": "1"}), encoding="utf-8")
        proxy.start()
        yield proxy


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_each_phone_has_its_own_and_no_stranger_any(
    stock: StockProxy,
    database: psycopg.Connection,
    fetch_sources: FetchSources,
    transport: Literal["udp", "tcp"],
) -> None:
    """Each phone gets it where it listens, or else at its source. What usrloc stores is as before adoption."""
    with ExitStack() as stack:
        listens, stranger = (stack.enter_context(Listener(host)) for host in ("127.0.0.1", "127.0.0.7"))
        contacts = {
            "plain": None,
            "elsewhere": f"sip:bob@{listens.address}",
            "behind NAT": "sip:bob@10.0.0.9:5060",
            "claims": f"<sip:bob@10.0.0.8:5060>;received=sip:{stranger.address}",
            "astray": f"sip:bob@{stranger.address}",
        }
        sip = ("127.0.0.1", stock.port)
        phones = {
            name: stack.enter_context(
                Phone("bob", "example.com", "", proxy=sip, contact=contact, transport=transport if contact else "udp")
            )
            for name, contact in contacts.items()
        }
        for phone in phones.values():
            assert phone.register().ok
        fetch_sources(stock.rpc_url, rows=5, database_name=database.info.dbname)
        assert {row[0] for row in database.execute("select received from location")} == {
            None,
            f"sip:{stranger.address}",
        }
        found = find_device_contacts(database, "a", "bob") or []
        targets = [
            Target(
                username=each.username,
                domain=each.domain,
                contact=each.contact,
                received=each.received,
                path=each.path,
                source=each.source,
                socket=each.socket,
            )
            for each in found
        ]
        with JsonRpcClient(transport_for(stock.rpc_url)) as client:
            errors = check_sync(client, targets, reboot=False, budget=5)
        assert [error is None for error in errors] == [name != "claims" for name in contacts]
        for name in ("plain", "behind NAT", "astray"):
            assert phones[name].wait_for_request("NOTIFY").uri == phones[name].contact
        wait_until(lambda: listens.heard() == 1, 5, "the NOTIFY where the phone listens")
        assert [len(phone.received) for phone in phones.values()] == [1, 0, 1, 0, 1]
        assert stranger.heard() == 0
