"""The list and the count: what each key of a registration object says."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding

GREGORIAN = 62167219200
DOCUMENTED = {
    "account_name",
    "account_realm",
    "authorizing_id",
    "authorizing_type",
    "call_id",
    "contact",
    "contact_ip",
    "contact_port",
    "event_timestamp",
    "expires",
    "from_host",
    "from_user",
    "network_ip",
    "network_port",
    "original_contact",
    "owner_id",
    "proxy_ip",
    "proxy_port",
    "realm",
    "suppress_unregister_notify",
    "to_host",
    "to_user",
    "user_agent",
    "username",
}


def _get(http: FlaskClient, directory: Directory, account: str, path: str = "") -> Any:
    response = http.get(
        f"/v2/accounts/{account}/registrations{path}", headers={"X-Auth-Token": directory.tokens[account]}
    )
    assert response.status_code == 200, response.text
    return response.get_json()["data"]


def test_a_registration_has_every_documented_key_with_its_true_value(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """All 24 keys of Crossbar's documentation, and Kazoo's extras that are known."""
    now = int(time.time())
    add_binding("alice", "reseller.test", expires=now + 540, last_modified=now - 60, callid="c1@phone")
    (registration,) = _get(http, directory, "reseller")
    initial = registration.pop("initial_registration")
    assert registration == {
        "account_name": "The Reseller",
        "account_realm": "reseller.test",
        "authorizing_id": "device-alice",
        "authorizing_type": "device",
        "call_id": "c1@phone",
        "contact": "sip:alice@192.0.2.10:5062",
        "contact_ip": "192.0.2.10",
        "contact_port": "5062",
        "event_timestamp": now - 60 + GREGORIAN,
        "expires": 600,
        "first_registration": False,
        "from_host": "reseller.test",
        "from_user": "alice",
        "last_registration": now - 60 + GREGORIAN,
        "network_ip": "198.51.100.7",
        "network_port": "33333",
        "original_contact": "sip:alice@192.0.2.10:5062",
        "owner_id": "owner-1",
        "presence_id": "100",
        "proxy_ip": "203.0.113.1",
        "proxy_port": "5060",
        "proxy_protocol": "udp",
        "realm": "reseller.test",
        "register_overwrite_notify": False,
        "source_ip": "198.51.100.7",
        "source_port": "33333",
        "suppress_unregister_notify": True,
        "to_host": "reseller.test",
        "to_user": "alice",
        "user_agent": "TestPhone/1.0",
        "username": "alice",
    }
    assert registration.keys() >= DOCUMENTED
    assert len(DOCUMENTED) == 24
    assert initial == now - 60 + GREGORIAN


def test_what_is_not_known_is_left_out_or_said_as_documented(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """Without received, device and socket: "undefined" for the network, "" elsewhere, and never null."""
    add_binding("stranger", "child.test", received=None, socket=None, contact="tel:+15551234567")
    (registration,) = _get(http, directory, "child")
    assert None not in registration.values()
    assert registration.keys() >= DOCUMENTED
    assert (registration["network_ip"], registration["network_port"]) == ("undefined", "undefined")
    assert (registration["authorizing_id"], registration["owner_id"]) == ("", "")
    assert (registration["contact_ip"], registration["contact_port"], registration["proxy_ip"]) == ("", "", "")
    assert not registration.keys() & {"source_ip", "source_port", "presence_id", "proxy_protocol", "proxy_path"}


def test_settings_of_devices_show_where_they_are_not_the_default(
    http: FlaskClient, directory: Directory, database: psycopg.Connection, add_binding: AddBinding
) -> None:
    """Each by itself, in one list with devices that have none; a presence_id that is empty is not known."""
    for columns, *values in (
        ("id, sip_username, presence_id", "d1", "u1", "77"),
        ("id, sip_username, presence_id", "d2", "u2", ""),
        ("id, sip_username, suppress_unregister_notify", "d3", "u3", False),
        ("id, sip_username, register_overwrite_notify", "d4", "u4", True),
        ("id, sip_username", "d5", "u5"),
    ):
        places = ", ".join(["%s"] * len(values))
        database.execute(f"insert into device (account_id, {columns}) values ('child', {places})", values)
    for number in range(1, 6):
        add_binding(f"U{number}", "child.test")
    keys = ("presence_id", "suppress_unregister_notify", "register_overwrite_notify")
    shown = {each["authorizing_id"]: [each.get(key) for key in keys] for each in _get(http, directory, "child")}
    usual = [None, True, False]
    assert shown == {
        "d1": ["77", True, False],
        "d2": usual,
        "d3": [None, False, False],
        "d4": [None, True, True],
        "d5": usual,
    }


def test_node_names_show_once_they_are_set(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """registrar_node and registrar_hostname come from the row's server_id."""
    database.execute("insert into kamailio_node values (7, 'kamailio@sip7.example.com', 'sip7.example.com')")
    add_binding("bob", "child.test", server_id=7)
    (registration,) = _get(http, directory, "child")
    assert registration["registrar_node"] == "kamailio@sip7.example.com"
    assert registration["registrar_hostname"] == "sip7.example.com"


def test_registrations_of_one_phone_have_the_same_instance(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """As a URN without brackets, with the number of the registration. Filters find them; who sent none has neither."""
    urn = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"
    add_binding("bob", "child.test", instance=f"<{urn}>", reg_id=1)
    add_binding("bob", "child.test", instance=f'"<{urn}>"', reg_id=2)
    add_binding("bob", "child.test", instance="<urn:uuid:another>")
    add_binding("bob", "child.test", instance="")
    rows = _get(http, directory, "child")
    shown = [(row.get("instance"), row.get("reg_id")) for row in rows]
    assert shown == [(None, None), ("urn:uuid:another", None), (urn, 2), (urn, 1)]
    headers = {"X-Auth-Token": directory.tokens["child"]}
    for query, calls in (
        ({"filter_instance": urn}, [rows[2], rows[3]]),
        ({"filter_instance": urn, "filter_reg_id": "1"}, [rows[3]]),
        ({"key_missing": "reg_id"}, rows[:2]),
        ({"filter_instance": ""}, rows[:1]),
    ):
        found = http.get("/v2/accounts/child/registrations", query_string=query, headers=headers).get_json()["data"]
        assert found == calls, query


def test_the_from_of_a_third_party_register_shows(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """from_user and from_host differ from the AoR only where Kamailio stored that they do."""
    ruid = add_binding("bob", "child.test")
    database.execute("insert into registration_source values (%s, null, 'gateway', 'gw.child.test')", (ruid,))
    (registration,) = _get(http, directory, "child")
    assert (registration["from_user"], registration["from_host"]) == ("gateway", "gw.child.test")
    assert (registration["to_user"], registration["to_host"]) == ("bob", "child.test")


def test_the_list_is_newest_first_and_the_count_is_its_length(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """Two phones of one user are two registrations; expired and hidden ones are none."""
    now = int(time.time())
    add_binding("bob", "child.test", last_modified=now - 30, callid="older")
    add_binding("bob", "child.test", last_modified=now - 10, callid="newer")
    add_binding("bob", "child.test", expires=now - 1, last_modified=now - 600, callid="expired")
    add_binding("bob", "child.test", last_modified=now - 20, flushed=now - 20, callid="flushed")
    add_binding("alice", "sibling.test")
    assert [each["call_id"] for each in _get(http, directory, "child")] == ["newer", "older"]
    assert _get(http, directory, "child", "/count") == {"count": 2}


def test_a_tombstone_does_not_hide_a_later_registration(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """A binding that registered again after the flush shows; in the same second CSeq tells (RFC 3261, 10.2)."""
    now = int(time.time())
    add_binding("bob", "child.test", last_modified=now, flushed=now - 5)
    add_binding("bob", "child.test", last_modified=now, flushed=now, cseq=2)
    assert _get(http, directory, "child", "/count") == {"count": 2}


def test_two_accounts_with_equal_usernames_see_only_their_own(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """The realm decides, not the username."""
    add_binding("alice", "reseller.test", callid="reseller-call")
    add_binding("alice", "sibling.test", callid="sibling-call")
    assert [each["call_id"] for each in _get(http, directory, "reseller")] == ["reseller-call"]
    assert [each["call_id"] for each in _get(http, directory, "sibling")] == ["sibling-call"]


def test_an_aor_without_domain_belongs_to_the_default_realm(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """usrloc with use_domain=0 keeps no domain; a setting names the realm that is meant."""
    add_binding("bob", None)
    assert _get(http, directory, "child") == []
    database.execute(
        "create or replace function kamailio_default_realm() returns text language sql immutable "
        "return 'child.test'::text"
    )
    (registration,) = _get(http, directory, "child")
    assert (registration["realm"], registration["authorizing_id"]) == ("child.test", "device-bob")
