"""The devices of an account, devices/status, the system's count, and the alias of the token's own account."""

from __future__ import annotations

import csv
import io

import psycopg
import pytest
from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding


def test_a_registered_device_is_listed_once(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> None:
    """Two bindings of a device are one device; strangers and other accounts are none."""
    add_binding("alice", "reseller.test")
    add_binding("alice", "reseller.test")
    add_binding("stranger", "reseller.test")
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    response = http.get("/v2/accounts/reseller/devices/status", headers=headers)
    assert response.get_json()["data"] == [{"device_id": "device-alice", "registered": True}]
    assert http.get("/v2/accounts/admin/devices/status", headers=headers).status_code == 403


def test_the_systems_count_is_for_superduper_admins(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """It counts every binding, those of no account too; nobody else may see it."""
    add_binding("alice", "reseller.test")
    add_binding("bob", "child.test")
    add_binding("nobody", "elsewhere.test")
    path = "/v2/registrations/count"
    response = http.get(path, headers={"X-Auth-Token": directory.tokens["admin"]})
    assert (response.status_code, response.get_json()["data"]) == (200, {"count": 3})
    assert http.get(path, headers={"X-Auth-Token": directory.tokens["reseller"]}).status_code == 403
    assert http.get(path).status_code == 401


@pytest.mark.parametrize(
    "path", ["registrations", "registrations/", "registrations/count", "devices", "devices/status"]
)
def test_account_is_the_tokens_own(http: FlaskClient, directory: Directory, add_binding: AddBinding, path: str) -> None:
    """/v2/account/... answers as /v2/accounts/{the token's account}/..."""
    add_binding("alice", "reseller.test")
    add_binding("bob", "child.test")
    for whose in ("reseller", "child"):
        headers = {"X-Auth-Token": directory.tokens[whose]}
        alias = http.get(f"/v2/account/{path}", headers=headers)
        named = http.get(f"/v2/accounts/{whose}/{path}", headers=headers)
        assert alias.status_code == 200
        assert alias.get_json()["data"] == named.get_json()["data"]
    assert http.get(f"/v2/account/{path}").status_code == 401


def test_an_empty_account_is_no_account(http: FlaskClient, directory: Directory) -> None:
    """A client that forgot the ID does not get its own account's list."""
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    assert http.get("/v2/accounts//registrations", headers=headers).status_code == 404


DEVICES = "/v2/accounts/reseller/devices"
KEYS = {"device_type", "enabled", "id", "name", "realm", "username"}


@pytest.fixture
def many(database: psycopg.Connection, directory: Directory) -> list[str]:
    """IDs of the reseller's devices. Some are disabled, two have an owner; a spreadsheet would calculate a name."""
    database.execute(
        "insert into device (id, account_id, owner_id, name, sip_username, ha1, enabled) "
        "select 'device-' || n, 'reseller', case when n < 3 then 'owner-1' end, "
        "case n when 5 then '=1+1' else 'Phone ' || n end, 'phone' || n, repeat(n::text, 32), n % 2 = 0 "
        "from generate_series(1, 5) n"
    )
    return ["device-alice", *(f"device-{number}" for number in range(5, 0, -1))]


def _ids(http: FlaskClient, directory: Directory, **parameters: str) -> list[str]:
    response = http.get(DEVICES, query_string=parameters, headers={"X-Auth-Token": directory.tokens["reseller"]})
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.get_json()["data"]]


def test_devices_are_listed_with_the_keys_of_crossbar(http: FlaskClient, directory: Directory) -> None:
    """Registered or not, with an owner and a presence_id where there is one, and only to those who see the account."""
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    (device,) = http.get(DEVICES, headers=headers).get_json()["data"]
    assert device == {
        "device_type": "sip_device",
        "enabled": True,
        "id": "device-alice",
        "name": "",
        "owner_id": "owner-1",
        "presence_id": "100",
        "realm": "reseller.test",
        "username": "alice",
    }
    (device,) = http.get("/v2/accounts/child/devices/", headers=headers).get_json()["data"]
    assert device.keys() == KEYS
    assert http.get("/v2/accounts/admin/devices", headers=headers).status_code == 403
    assert http.get(DEVICES, headers={"X-Auth-Token": directory.tokens["child"]}).status_code == 403


def test_a_device_is_shown_as_a_document_of_kazoo(http: FlaskClient, directory: Directory) -> None:
    """What monster-ui reads, and what else the directory knows. A device of another account is not there."""
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    assert http.get(f"{DEVICES}/device-alice", headers=headers).get_json()["data"] == {
        "device_type": "sip_device",
        "enabled": True,
        "id": "device-alice",
        "name": "",
        "owner_id": "owner-1",
        "presence_id": "100",
        "register_overwrite_notify": False,
        "sip": {"realm": "reseller.test", "username": "alice"},
        "suppress_unregister_notifications": True,
    }
    for device_id in ("device-bob", "nosuch", "%00"):
        assert http.get(f"{DEVICES}/{device_id}", headers=headers).get_json()["message"] == "bad_identifier"


def test_no_answer_holds_a_hash(http: FlaskClient, directory: Directory, database: psycopg.Connection) -> None:
    """Whatever is asked for; a key that a device does not show cannot be filtered by either."""
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    row = database.execute("select ha1 from device where id = 'device-alice'").fetchone()
    assert row is not None
    for path in (DEVICES, f"{DEVICES}?accept=csv", f"{DEVICES}/device-alice"):
        assert row[0] not in http.get(path, headers=headers).text
    assert _ids(http, directory, filter_ha1=row[0]) == []
    assert _ids(http, directory, has_key="ha1") == []


@pytest.mark.parametrize("page_size", [1, 4, 6, 7])
@pytest.mark.parametrize("ascending", ["0", "1"])
def test_pages_of_devices_join(
    http: FlaskClient, directory: Directory, many: list[str], page_size: int, ascending: str
) -> None:
    """By ID, the last one first unless asked otherwise; a start key that is made up is none that fails."""
    joined: list[str] = []
    more: dict[str, str] = {"page_size": str(page_size), "ascending": ascending}
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    for _ in range(7):
        envelope = http.get(DEVICES, query_string=more, headers=headers).get_json()
        joined += [each["id"] for each in envelope["data"]]
        if "next_start_key" not in envelope:
            break
        more["start_key"] = envelope["next_start_key"]
    assert joined == (many[::-1] if ascending == "1" else many)
    assert http.get(f"{DEVICES}?start_key=ff00", headers=headers).status_code == 200
    assert http.get(f"{DEVICES}?start_key=zz", headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"filter_id": "device-2"}, ["device-2"]),
        ({"filter_enabled": "1", "filter_not_id": "device-alice"}, ["device-4", "device-2"]),
        ({"filter_owner_id": "owner-1", "filter_enabled": "false"}, ["device-1"]),
        ({"filter_username": '["phone3", "phone4"]'}, ["device-4", "device-3"]),
        ({"has_key": "presence_id"}, ["device-alice"]),
        ({"missing_value": "name"}, ["device-alice"]),
        ({"key_missing": "owner_id", "ascending": "true"}, ["device-3", "device-4", "device-5"]),
        ({"filter_device_type": "softphone"}, []),
        ({"created_from": "1"}, []),
        ({"filter_realm": "reseller.test", "page_size": "1", "paginate": "0", "filter_name": "Phone 3"}, ["device-3"]),
    ],
)
def test_devices_are_filtered(
    http: FlaskClient, directory: Directory, many: list[str], parameters: dict[str, str], expected: list[str]
) -> None:
    """As registrations are; nobody knows when a device was made."""
    assert _ids(http, directory, **parameters) == expected


def test_devices_are_exported(http: FlaskClient, directory: Directory, many: list[str]) -> None:
    """All that the filters leave, whatever the paging; a spreadsheet calculates nothing."""
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    response = http.get(f"{DEVICES}?accept=csv&page_size=1&filter_not_enabled=true", headers=headers)
    assert response.headers["Content-Disposition"] == "attachment; filename=devices.csv"
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [row["id"] for row in rows] == ["device-5", "device-3", "device-1"]
    assert rows[0].keys() == KEYS | {"owner_id", "presence_id"}
    assert (rows[0]["name"], rows[0]["owner_id"], rows[0]["enabled"]) == ("'=1+1", "", "false")


def test_a_device_with_several_usernames_is_listed_once(
    http: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """In a directory of the operator's own, which may also have no name for it."""
    database.execute(
        "create or replace view directory as select u.username, 'child.test' as realm, 'one'::text as device_id, "
        "null::text as device_name, 'child'::text as account_id, 'A Child'::text as account_name, "
        "'child.test'::text as account_realm, null::text as owner_id, null::text as owner_name, true as enabled, "
        "null::text as presence_id, true as suppress_unregister_notify, false as register_overwrite_notify "
        "from (values ('b'::text), ('a')) u (username)"
    )
    headers = {"X-Auth-Token": directory.tokens["child"]}
    (device,) = http.get("/v2/account/devices", headers=headers).get_json()["data"]
    assert (device["id"], device["username"], device["name"]) == ("one", "a", "")
    assert http.get("/v2/account/devices/one", headers=headers).get_json()["data"]["sip"]["username"] == "a"
