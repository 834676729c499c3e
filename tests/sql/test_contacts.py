"""Where a device's phones can be reached: which rows count, and what of their columns is meant."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from sql.connections import connect
from sql.contacts import DeviceContact, find_device_contacts
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

Find = Callable[..., list[DeviceContact] | None]


@pytest.fixture
def find(database: psycopg.Connection, postgres: Cluster, directory: Directory) -> Find:
    """The contacts of bob's device, read with the rights of the API's role."""
    settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user="registrations_api"))

    def find_as_api(account_id: str = "child", device_id: str = "device-bob") -> list[DeviceContact] | None:
        with connect(settings, application_name="test") as connection:
            return find_device_contacts(connection, account_id, device_id)

    return find_as_api


def test_a_device_is_found_in_its_own_account_only(find: Find, add_binding: AddBinding) -> None:
    """None tells that the account has no such device, an empty list that it is not registered."""
    add_binding("alice", "reseller.test")
    assert find() == []
    assert find("reseller", "device-bob") is None
    assert find("child", "nosuch") is None
    assert [each.username for each in find("reseller", "device-alice") or []] == ["alice"]


def test_every_live_binding_is_told_enriched_or_not(
    find: Find, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """Those that the worker has not seen yet count, the expired and the flushed do not."""
    enriched = {"account_id": "child", "device_id": "device-bob", "enriched_at": "2026-01-01"}
    add_binding("bob", "child.test", contact="sip:1")
    add_binding("bob", "child.test", contact="sip:2", **enriched)
    add_binding("bob", "child.test", contact="sip:expired", expires=int(time.time()) - 1)
    add_binding(
        "bob",
        "child.test",
        contact="sip:flushed",
        flushed=int(time.time()),
        last_modified=int(time.time()) - 1,
        **enriched,
    )
    assert [each.contact for each in find() or []] == ["sip:1", "sip:2"]


def test_what_is_empty_is_none_and_the_realm_is_the_devices(find: Find, add_binding: AddBinding) -> None:
    """usrloc leaves columns empty, and the domain too under use_domain=0."""
    enriched = {"account_id": "child", "device_id": "device-bob", "enriched_at": "2026-01-01"}
    add_binding("bob", None, contact="sip:b", received="", path="", socket=None, server_id=7, **enriched)
    assert find() == [
        DeviceContact(
            username="bob",
            domain="child.test",
            contact="sip:b",
            received=None,
            path=None,
            socket=None,
            server_id=7,
            source_is_named=False,
        )
    ]


@pytest.mark.parametrize("enriched_at", [None, "2026-01-01"])
def test_a_source_that_the_request_named_is_told_from_one_that_was_seen(
    find: Find, add_binding: AddBinding, enriched_at: str | None
) -> None:
    """By branch flag 29, whatever other flags the operator sets."""
    for flags in (0, 1 << 29, 64, 1 << 29 | 64):
        add_binding(
            "bob", "child.test", cflags=flags, account_id="child", device_id="device-bob", enriched_at=enriched_at
        )
    assert [each.source_is_named for each in find() or []] == [False, True, False, True]


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        ("sip:bob@192.0.2.1", "sip:bob@192.0.2.1"),
        ("sip:j\u00c3\u00b6rg@192.0.2.1", "sip:jörg@192.0.2.1"),
        ("sip:j\u00f6rg@192.0.2.1", "sip:j\udcf6rg@192.0.2.1"),
        ("sip:日@192.0.2.1", "sip:日@192.0.2.1"),
    ],
    ids=["ASCII", "UTF-8", "Latin-1", "older than the declaration"],
)
def test_a_column_gives_the_bytes_that_the_phone_sent(
    find: Find, add_binding: AddBinding, stored: str, meant: str
) -> None:
    """Kamailio stores each byte as one character; what it then compares and sends are the bytes."""
    add_binding("bob", "child.test", contact=stored)
    assert [each.contact for each in find() or []] == [meant]
