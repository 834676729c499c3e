"""devices/status, the system's count, and the alias of the token's own account."""

from __future__ import annotations

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


@pytest.mark.parametrize("path", ["registrations", "registrations/", "registrations/count", "devices/status"])
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
