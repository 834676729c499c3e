"""Where a device's phones can be reached: which rows count, and what of their columns is meant."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from sql.connections.database import connect
from sql.registrations.contacts import DeviceContact, find_device_contacts
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
            source=None,
        )
    ]


@pytest.mark.parametrize("enriched_at", [None, "2026-01-01"])
def test_the_source_is_the_one_that_kamailio_announced(
    find: Find, add_binding: AddBinding, database: psycopg.Connection, enriched_at: str | None
) -> None:
    """Whatever else the row says, which the phone may have chosen; where nothing was announced it is not known."""
    enriched = {"account_id": "child", "device_id": "device-bob", "enriched_at": enriched_at}
    for received in ("sip:192.0.2.1:1", None):
        ruid = add_binding("bob", "child.test", contact="sip:192.0.2.3", received=received, **enriched)
        database.execute("insert into registration_source values (%s, 'sip:192.0.2.2:2')", (ruid,))
        add_binding("bob", "child.test", contact="sip:192.0.2.3", received=received, **enriched)
    assert [each.source for each in find() or []] == ["sip:192.0.2.2:2", None] * 2
