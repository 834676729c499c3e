"""usrloc's commands, on bindings of real phones."""

from __future__ import annotations

import psycopg
import pytest

from kamailio import usrloc
from kamailio.errors import RpcError
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone


def test_lookup_tells_what_is_registered(proxy: Proxy, add_device: AddDevice) -> None:
    """A lookup returns the binding as the phone made it, and nothing for an AoR that has none."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, expires=120) as phone, proxy.rpc() as client:
        assert phone.register().ok
        (contact,) = usrloc.lookup(client, "alice@example.com")
        assert contact.address == phone.contact
        assert contact.expires is not None
        assert 0 < contact.expires <= 120
        assert contact.call_id == phone.call_id
        assert contact.server_id == 1
        assert contact.path is None
        both = ["nobody@example.com", "alice@example.com"]
        assert [isinstance(found, tuple) and len(found) for found in usrloc.lookup_many(client, both, budget=5)] == [
            0,
            1,
        ]
        phone.unregister()
        assert usrloc.lookup(client, "alice@example.com") == ()
        assert usrloc.lookup(client, "nobody@example.com") == ()


def test_other_failures_of_lookup_are_not_swallowed(proxy: Proxy) -> None:
    """Only "not registered" is an empty answer; a wrong table is an error."""
    with proxy.rpc() as client, pytest.raises(RpcError, match="Domain table not found"):
        usrloc.lookup(client, "alice@example.com", table="nowhere")
    with proxy.rpc() as client:
        (found,) = usrloc.lookup_many(client, ["alice@example.com"], budget=5, table="nowhere")
    assert isinstance(found, RpcError)
    assert found.message == "Domain table not found"


@pytest.mark.parametrize("db_mode", [1, 3])
def test_rm_removes_memory_and_row(
    start_kamailio: StartKamailio, add_device: AddDevice, database: psycopg.Connection, db_mode: int
) -> None:
    """After rm neither the node nor the table has the binding; for an AoR that is unknown it is a success."""
    proxy = start_kamailio(db_mode=db_mode)
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc(socket=True) as client:
        assert phone.register().ok
        assert usrloc.rm_many(client, ["alice@example.com", "nobody@example.com"], budget=5) == [None, None]
        assert usrloc.lookup(client, "alice@example.com") == ()
        assert database.execute("select count(*) from location").fetchone() == (0,)
        usrloc.rm(client, "alice@example.com")


def test_rm_many_tells_which_failed(proxy: Proxy) -> None:
    """One refusal does not hide the others' success."""
    with proxy.rpc() as client:
        refused, done = usrloc.rm_many(client, ["no-domain", "alice@example.com"], budget=5)
    assert isinstance(refused, RpcError)
    assert refused.message == "Domain missing in AOR"
    assert done is None


def test_without_domains_an_aor_is_the_user_alone(start_kamailio: StartKamailio, add_device: AddDevice) -> None:
    """Under use_domain=0 the same helper names the AoR as Kamailio wants it."""
    assert usrloc.aor("alice", "example.com") == "alice@example.com"
    proxy = start_kamailio(environment={"KAMAILIO_USE_DOMAIN": "0"})
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc() as client:
        assert phone.register().ok
        assert [c.address for c in usrloc.lookup(client, usrloc.aor("alice", None))] == [phone.contact]
