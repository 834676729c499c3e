"""kazoo-sdk 0.2.4 from PyPI, unchanged, against a server in production form.

It has methods for devices but not for registrations. For other resources it offers RestResource, a description from
which it makes methods, and a manual request.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.server import Server


@pytest.fixture(scope="module")
def sdk() -> Iterator[Any]:
    """The package, imported for this module only: the import changes json for the whole process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("json._default_decoder", vars(json)["_default_decoder"])
        yield importlib.import_module("kazoo")


@pytest.fixture(scope="module")
def client_class(sdk: Any) -> Any:
    """Its client with one more resource, described as its own ones are."""
    rest_resources = importlib.import_module("kazoo.rest_resources")
    registrations = rest_resources.RestResource(
        "registration",
        "/accounts/{account_id}/registrations/{username}",
        extra_views=[{"name": "get_registrations_count", "path": "count"}],
    )
    return type(sdk.Client)("Client", (sdk.Client,), {"_registrations_resource": registrations})


@pytest.fixture
def client(client_class: Any, server: Server) -> Any:
    """A client that has a token for the reseller's API key."""
    client = client_class(api_key=server.api_key, base_url=server.url)
    client.authenticate()
    return client


@pytest.fixture
def errors(sdk: Any) -> Any:
    """The package's exceptions."""
    return importlib.import_module("kazoo.exceptions")


def test_it_authenticates_with_an_api_key(client: Any) -> None:
    """It finds the token in the envelope and the account in data."""
    assert client.auth_token
    assert client.auth_data["status"] == "success"
    assert client.auth_data["data"]["account_id"] == "reseller"


def test_it_lists_and_counts(client: Any) -> None:
    """It lists the registrations of the account and of a descendant, including both phones of alice."""
    listed = client.get_registrations("reseller")["data"]
    assert [each["username"] for each in listed] == ["alice", "alice"]
    assert [each["username"] for each in client.get_registrations("child")["data"]] == ["bob"]
    assert client.get_registrations_count("reseller")["data"] == {"count": 2}
    assert client.manual_request("/accounts/reseller/registrations") == (True, listed)


def test_it_sends_filters(sdk: Any, client: Any) -> None:
    """Filters are parameters of the request object that its own searches use."""
    request_objects = importlib.import_module("kazoo.request_objects")
    request = request_objects.KazooRequest(
        "/accounts/{account_id}/registrations", get_params={"filter_proxy_protocol": "tcp"}
    )
    (found,) = client._execute_request(request, account_id="reseller")["data"]
    assert found["proxy_protocol"] == "tcp"


def test_its_device_status_is_there(client: Any) -> None:
    """This is its only own method about registrations."""
    status = client.get_all_devices_status("reseller")["data"]
    assert status == [{"device_id": "device-alice", "registered": True}]


def test_it_deletes_one_and_all(client: Any) -> None:
    """The envelope's status is success, and the bindings are gone."""
    assert client.delete_registration("child", "bob")["data"] == "ok"
    assert client.get_registrations("child")["data"] == []
    assert client.get_registrations_count("reseller")["data"] == {"count": 2}
    assert client.manual_request("/accounts/reseller/registrations", "delete") == (True, "ok")
    assert client.get_registrations_count("reseller")["data"] == {"count": 0}


def test_it_knows_a_wrong_key(client_class: Any, errors: Any, server: Server) -> None:
    """It recognises the string "401" as the error in the envelope."""
    with pytest.raises(errors.KazooApiAuthenticationError, match="Invalid credentials"):
        client_class(api_key="wrong", base_url=server.url).authenticate()


def test_it_gets_another_token_when_one_died(client: Any, directory: Directory, database: psycopg.Connection) -> None:
    """After a 401 it authenticates and repeats the call, without its caller noticing."""
    first = client.auth_token
    database.execute("delete from auth_token where account_id = 'reseller'")
    assert client.get_registrations_count("child")["data"] == {"count": 1}
    assert client.auth_token != first


def test_it_tells_what_was_refused(client: Any, errors: Any) -> None:
    """403, 404 and 405 are errors of its own type, with the request's ID and our message."""
    for call, arguments, message in (
        (client.get_registrations, ("admin",), "forbidden"),
        (client.get_registrations_count, ("nowhere",), "forbidden"),
        (client.delete_registration, ("reseller", "nosuch"), "bad identifier"),
        (client.get_registration, ("reseller", "alice"), "invalid_method"),
        (client.get_menus, ("reseller",), "faulty_request"),
    ):
        with pytest.raises(errors.KazooApiError) as refused:
            call(*arguments)
        _, request_id, said = refused.value.args
        assert request_id
        assert said == message
    is_ok, response = client.manual_request("/accounts/reseller/registrations/nosuch", "delete")
    assert (is_ok, response.status_code) == (False, 404)


def test_it_tells_which_field_is_bad(client: Any, errors: Any) -> None:
    """A 400 becomes its error for bad data, which reads the fields from data."""
    request = importlib.import_module("kazoo.request_objects").KazooRequest(
        "/accounts/{account_id}/registrations", get_params={"page_size": "many"}
    )
    with pytest.raises(errors.KazooApiBadDataError, match="page_size") as refused:
        client._execute_request(request, account_id="reseller")
    assert list(refused.value.field_errors) == ["page_size"]


def test_without_kamailio_a_flush_is_a_success_and_a_sync_is_none(client: Any, errors: Any, server: Server) -> None:
    """The flush is promised. Nobody retries a sync, so it is a 503 with an envelope like any other error."""
    server.registrar.stop()
    assert client.delete_registration("child", "bob")["data"] == "ok"
    assert client.get_registrations_count("child")["data"] == {"count": 0}
    request = importlib.import_module("kazoo.request_objects").KazooRequest(
        "/accounts/{account_id}/devices/device-alice/sync", method="post"
    )
    with pytest.raises(errors.KazooApiError) as refused:
        client._execute_request(request, account_id="reseller", data={})
    assert refused.value.args[2] == "registrar_unreachable"
