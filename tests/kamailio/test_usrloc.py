"""usrloc's commands, on bindings of real phones."""

from __future__ import annotations

import psycopg
import pytest

from kamailio import usrloc
from kamailio.errors import NotCarried, RpcError
from kamailio.transports.datagram import REQUEST_LIMIT
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone


def test_lookup_tells_what_is_registered(proxy: Proxy, add_device: AddDevice) -> None:
    """A lookup returns the binding that the phone made, and nothing for an AoR without one."""
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip, expires=120) as phone, proxy.rpc() as client:
        assert phone.register().ok
        (contact,) = usrloc.lookup(client, "alice@example.com")
        assert (contact.address, contact.call_id) == (phone.contact, phone.call_id)
        both = ["nobody@example.com", "alice@example.com"]
        assert [isinstance(found, tuple) and len(found) for found in usrloc.lookup_many(client, both, budget=5)] == [
            0,
            1,
        ]
        phone.unregister()
        assert usrloc.lookup(client, "alice@example.com") == ()
        assert usrloc.lookup(client, "nobody@example.com") == ()


def test_other_failures_of_lookup_are_not_swallowed(proxy: Proxy) -> None:
    """Only "not registered" is an empty answer; a request that the datagram cannot carry is an error."""
    too_long = "a" * REQUEST_LIMIT + "@example.com"
    with proxy.rpc(socket=True) as client:
        with pytest.raises(NotCarried):
            usrloc.lookup(client, too_long)
        found = usrloc.lookup_many(client, [too_long, "alice@example.com"], budget=5)
    assert (type(found[0]), found[1]) == (NotCarried, ())


@pytest.mark.parametrize("db_mode", [1, 3])
def test_rm_removes_memory_and_row(
    start_kamailio: StartKamailio, add_device: AddDevice, database: psycopg.Connection, db_mode: int
) -> None:
    """After rm neither the node nor the table has the binding. For an unknown AoR it is a success."""
    proxy = start_kamailio(db_mode=db_mode)
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc(socket=True) as client:
        assert phone.register().ok
        assert usrloc.rm_many(client, ["alice@example.com", "nobody@example.com"], budget=5) == [None, None]
        assert usrloc.lookup(client, "alice@example.com") == ()
        assert database.execute("select count(*) from location").fetchone() == (0,)
        assert usrloc.rm_many(client, ["alice@example.com"], budget=5) == [None]


def test_rm_many_tells_which_failed(proxy: Proxy) -> None:
    """A refusal does not hide the other successes."""
    with proxy.rpc() as client:
        refused, done = usrloc.rm_many(client, ["no-domain", "alice@example.com"], budget=5)
    assert isinstance(refused, RpcError)
    assert refused.message == "Domain missing in AOR"
    assert done is None


def test_without_domains_an_aor_is_the_user_alone(start_kamailio: StartKamailio, add_device: AddDevice) -> None:
    """Under use_domain=0 `aor` names the AoR as Kamailio expects it."""
    assert usrloc.aor("alice", "example.com") == "alice@example.com"
    proxy = start_kamailio(environment={"KAMAILIO_USE_DOMAIN": "0"})
    add_device("alice")
    with Phone("alice", "example.com", "secret", proxy=proxy.sip) as phone, proxy.rpc() as client:
        assert phone.register().ok
        assert [c.address for c in usrloc.lookup(client, usrloc.aor("alice", None))] == [phone.contact]
