"""PyKazoo 0.0a8 from PyPI, unchanged, against a server in production form.

It has methods for devices but not for registrations. For other resources it has a request object, which all its parts
share. Only 200 and 201 are a success for it.
"""

from __future__ import annotations

import psycopg
import pytest
from pykazoo.client import PyKazooClient
from pykazoo.restrequest import RestRequest

from tests.fixtures.server import Server


@pytest.fixture
def rest(server: Server) -> RestRequest:
    """Its request object."""
    return RestRequest(server.url)


@pytest.fixture
def client(server: Server, rest: RestRequest) -> PyKazooClient:
    """A client that has a token for the reseller's API key."""
    client = PyKazooClient(server.url, rest)
    client.authentication.api_auth(server.api_key)
    return client


def test_it_authenticates_with_an_api_key(client: PyKazooClient) -> None:
    """It accepts a 201, and finds the token in the envelope and the account in data."""
    assert client.authentication.authenticated
    assert client.authentication.account_id == "reseller"


def test_it_lists_and_counts(client: PyKazooClient, rest: RestRequest) -> None:
    """It lists the registrations of the account and of a descendant, including both phones of alice."""
    listed = rest.get("accounts/reseller/registrations")
    assert [each["username"] for each in listed["data"]] == ["alice", "alice"]
    assert [each["username"] for each in rest.get("accounts/child/registrations")["data"]] == ["bob"]
    assert rest.get("accounts/reseller/registrations/count")["data"] == {"count": 2}


def test_it_sends_filters(client: PyKazooClient, rest: RestRequest) -> None:
    """Filters work alone and together, as it documents them for its own lists."""
    path = "accounts/reseller/registrations"
    assert len(rest.get(path, {"filter_proxy_protocol": "tcp"})["data"]) == 1
    page = rest.get(path, {"page_size": 1, "filter_username": "alice"})
    (other,) = rest.get(path, {"page_size": 1, "start_key": page["next_start_key"]})["data"]
    assert other["call_id"] != page["data"][0]["call_id"]


def test_its_device_status_is_there(client: PyKazooClient) -> None:
    """This is its only own method about registrations."""
    status = client.devices.get_devices_status("reseller")["data"]
    assert status == [{"device_id": "device-alice", "registered": True}]


def test_it_deletes_one_and_all(client: PyKazooClient, rest: RestRequest) -> None:
    """It accepts only a 200 with JSON, and the bindings are gone."""
    assert rest.delete("accounts/child/registrations/bob")["data"] == "ok"
    assert rest.get("accounts/child/registrations")["data"] == []
    assert rest.delete("accounts/reseller/registrations")["data"] == "ok"
    assert rest.get("accounts/reseller/registrations/count")["data"] == {"count": 0}


def test_it_knows_a_wrong_key(server: Server) -> None:
    """It recognises the status 401 and then has no token."""
    client = PyKazooClient(server.url)
    with pytest.raises(PermissionError, match="invalid_credentials"):
        client.authentication.api_auth("wrong")
    assert not client.authentication.authenticated


def test_it_knows_a_dead_token(client: PyKazooClient, rest: RestRequest, database: psycopg.Connection) -> None:
    """It raises the same error, so that its caller authenticates again."""
    database.execute("delete from auth_token where account_id = 'reseller'")
    with pytest.raises(PermissionError, match="invalid_credentials"):
        rest.get("accounts/reseller/registrations")


def test_it_tells_what_was_refused(client: PyKazooClient, rest: RestRequest) -> None:
    """Each status becomes its own error, with our message in the text."""
    for call, path, error, message in (
        (rest.get, "accounts/admin/registrations", RuntimeError, "Error Code: 403 .*forbidden"),
        (rest.get, "accounts/reseller/registrations?page_size=many", ValueError, "Error Code: 400 .*page_size"),
        (rest.delete, "accounts/reseller/registrations/nosuch", ValueError, "Error Code: 404 .*nosuch"),
        (rest.get, "accounts/reseller/menus", ValueError, "Error Code: 404 .*faulty_request"),
        (rest.put, "accounts/reseller/registrations", ValueError, "Error Code: 405 .*invalid_method"),
    ):
        with pytest.raises(error, match=message):
            call(path)


def test_without_kamailio_a_flush_is_a_success_and_a_sync_is_none(
    client: PyKazooClient, rest: RestRequest, server: Server
) -> None:
    """The flush is promised. Nobody retries a sync, and its 503 becomes a connection error."""
    server.registrar.stop()
    assert rest.delete("accounts/child/registrations/bob")["data"] == "ok"
    assert rest.get("accounts/child/registrations/count")["data"] == {"count": 0}
    with pytest.raises(ConnectionError, match="registrar_unreachable"):
        rest.post("accounts/reseller/devices/device-alice/sync", {})
