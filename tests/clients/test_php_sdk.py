"""An imitation of 2600hz/kazoo-php-sdk, against a server in production form.

It sends requests (by Guzzle) and reads answers as that repository does (lib/hz2600/Kazoo), but has none of its code.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

import psycopg
import pytest

from tests.fixtures.location import AddBinding
from tests.fixtures.server import Server

MORE_THAN_A_PAGE = 1050
"""More than the largest page that a client may ask for by default."""


class HttpException(Exception):
    """Any failure, made from the status and the envelope's message, which must be a string."""

    def __init__(self, message: str, code: int) -> None:
        if not isinstance(message, str):
            raise TypeError("a PHP exception takes only a string as its message")
        super().__init__(message)
        self.code = code


class ApiException(HttpException):
    """A 4xx without its own type."""


class Validation(HttpException):
    """400."""


class Unauthenticated(HttpException):
    """401."""


class Unauthorized(HttpException):
    """403."""


class NotFound(HttpException):
    """404."""


class InvalidMethod(HttpException):
    """405."""


class ServiceNotAvailable(HttpException):
    """503."""


EXCEPTIONS: dict[int, type[HttpException]] = {
    400: Validation,
    401: Unauthenticated,
    403: Unauthorized,
    404: NotFound,
    405: InvalidMethod,
    503: ServiceNotAvailable,
}


class ImitatedPhpSdk:
    """The SDK with an API key. It authenticates when it first needs an account or a token."""

    def __init__(self, port: int, api_key: str) -> None:
        self.port = port
        self.api_key = api_key
        self.auth_response: dict[str, Any] = {}

    @property
    def account_id(self) -> str:
        """The account of the key."""
        if not self.auth_response:
            self._request_token()
        return str(self.auth_response["account_id"])

    def fetch(self, collection: str, account: str | None = None) -> Any:
        """`$sdk->Account($account)->{collection}()`: the whole list, because it never asks for pages."""
        return self._authenticated("GET", f"/accounts/{account or self.account_id}/{collection}")

    def remove(self, collection: str) -> Any:
        """`->remove()`, or `->remove(...)` with a suffix for the path."""
        return self._authenticated("DELETE", f"/accounts/{self.account_id}/{collection}")

    def _authenticated(self, method: str, path: str) -> Any:
        try:
            return self._send(method, path)["data"]
        except Unauthenticated:
            self._request_token()
            return self._send(method, path)["data"]

    def _request_token(self) -> None:
        self.auth_response = {}
        answer = self._send("PUT", "/api_auth", json.dumps({"data": {"api_key": self.api_key}}))
        self.auth_response = {**answer["data"], "auth_token": answer["auth_token"]}

    def _send(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        headers = {
            "User-Agent": "kazoo-php-sdk",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "X-Auth-Token": self.auth_response.get("auth_token", ""),  # empty while it requests one
        }
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, f"/v2{path}", body=body, headers=headers)
            response = connection.getresponse()
            envelope: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status >= 400:
            other = ApiException if response.status < 500 else HttpException
            raise EXCEPTIONS.get(response.status, other)(envelope["message"], response.status)
        return envelope


@pytest.fixture
def sdk(server: Server) -> ImitatedPhpSdk:
    """The SDK with the reseller's key."""
    return ImitatedPhpSdk(server.port, server.api_key)


def test_it_authenticates_with_an_empty_token(sdk: ImitatedPhpSdk) -> None:
    """Its first request already has the header. The account is in data, the token in the envelope."""
    assert sdk.account_id == "reseller"
    assert sdk.auth_response["auth_token"]


def test_it_gets_the_whole_list(sdk: ImitatedPhpSdk, add_binding: AddBinding) -> None:
    """It does not use pages, and gets more rows than any page has."""
    for number in range(MORE_THAN_A_PAGE):
        add_binding(f"user-{number}", "reseller.test")
    listed = sdk.fetch("registrations")
    assert isinstance(listed, list)
    assert len(listed) == MORE_THAN_A_PAGE + 2
    assert all(each["username"] for each in listed)
    assert sdk.fetch("registrations/count")["count"] == len(listed)


def test_its_device_status_is_a_list(sdk: ImitatedPhpSdk) -> None:
    """It finds the elements by their device_id."""
    assert [each["device_id"] for each in sdk.fetch("devices/status")] == ["device-alice"]


@pytest.mark.parametrize("appended", ["", "/alice"], ids=["all", "one"])
def test_it_removes(sdk: ImitatedPhpSdk, appended: str) -> None:
    """It sends a DELETE with Content-Type but without body. It reads data, and the bindings are gone."""
    assert sdk.remove(f"registrations{appended}") == "ok"
    assert sdk.fetch("registrations") == []


def test_it_authenticates_again_when_its_token_died(sdk: ImitatedPhpSdk, database: psycopg.Connection) -> None:
    """After a 401 it requests another token and repeats the request."""
    assert len(sdk.fetch("registrations")) == 2
    first = sdk.auth_response["auth_token"]
    database.execute("delete from auth_token where account_id = 'reseller'")
    assert len(sdk.fetch("registrations")) == 2
    assert sdk.auth_response["auth_token"] != first


def test_each_failure_is_an_exception_of_its_type(sdk: ImitatedPhpSdk, server: Server) -> None:
    """The status decides the type. The message is a string."""
    with pytest.raises(Unauthenticated, match="invalid_credentials"):
        ImitatedPhpSdk(server.port, "wrong").fetch("registrations")
    for collection, exception, message in (
        ("registrations?page_size=many", Validation, "invalid data"),
        ("menus", NotFound, "faulty_request"),
        ("registrations/alice", InvalidMethod, "invalid_method"),
    ):
        with pytest.raises(exception, match=message):
            sdk.fetch(collection)
    with pytest.raises(Unauthorized, match="forbidden"):
        sdk.fetch("registrations", "admin")
    with pytest.raises(NotFound, match="bad identifier"):
        sdk.remove("registrations/nosuch")
    server.registrar.stop()
    with pytest.raises(ServiceNotAvailable, match="registrar_unreachable"):
        sdk._send("POST", "/accounts/reseller/devices/device-alice/sync")
