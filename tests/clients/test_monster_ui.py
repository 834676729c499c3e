"""An imitation of monster-ui's SDK in a browser on another origin, against a server in production form.

It sends requests and reads answers as 2600hz/monster-ui does (src/js/lib/jquery.kazoosdk.js), but has none of its
code. The browser sends a preflight before each request (Fetch standard, CORS), because a token and JSON are not simple
headers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any

import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.server import Server

ORIGIN = "https://monster.example.com"
SIMPLE_METHODS = {"GET", "HEAD", "POST"}
SIMPLE_HEADERS = {"accept", "accept-language", "content-language"}
GREGORIAN_OFFSET = 62167219200


class Blocked(Exception):
    """The browser does not let the app send the request or read the answer."""


@dataclass(frozen=True)
class Answer:
    """The parts of an answer that an app gets."""

    status: int
    content_type: str | None
    text: str


class RequestFailed(Exception):
    """What monster-ui passes to an app's `error`: the parsed body, or nothing if it does not parse it."""

    def __init__(self, status: int, parsed: dict[str, Any]) -> None:
        super().__init__(f"{status}: {parsed}")
        self.status = status
        self.parsed = parsed


class ImitatedBrowser:
    """A page of another origin that uses XMLHttpRequest."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Answer:
        """Send a request after a preflight.

        Raises:
            Blocked: the server did not allow it for this origin.
        """
        asked = sorted(name.lower() for name in headers if name.lower() not in SIMPLE_HEADERS)
        preflight = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(asked)}
        status, allowed, _ = self._exchange("OPTIONS", path, preflight, None)
        self._check_origin(allowed)
        if not 200 <= status <= 299:
            raise Blocked(f"preflight: {status}")
        if method not in _names(allowed["Access-Control-Allow-Methods"]) | SIMPLE_METHODS:
            raise Blocked(f"method {method}")
        if missing := set(asked) - {name.lower() for name in _names(allowed["Access-Control-Allow-Headers"])}:
            raise Blocked(f"headers {missing}")
        status, received, text = self._exchange(method, path, headers, body)
        self._check_origin(received)
        return Answer(status, received["Content-Type"], text)

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, HTTPMessage, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        own = {
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Accept": "*/*",
            "Origin": ORIGIN,
            "Referer": f"{ORIGIN}/",
        }
        try:
            connection.request(method, path, body=body, headers={**own, **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    @staticmethod
    def _check_origin(headers: HTTPMessage) -> None:
        if headers["Access-Control-Allow-Origin"] not in {"*", ORIGIN}:
            raise Blocked("origin")


def _names(header: str | None) -> set[str]:
    return {name.strip() for name in (header or "").split(",")}


class ImitatedMonsterUi:
    """Sends requests as its SDK does. Before a login the token is JavaScript's "undefined"."""

    def __init__(self, port: int, token: str = "undefined") -> None:
        self.browser = ImitatedBrowser(port)
        self.token = token

    def request(self, verb: str, path: str, data: dict[str, Any] | None = None) -> Any:
        """Send a request and return the envelope.

        Raises:
            RequestFailed: the status was not 2xx.
        """
        headers = {
            "Accept": "application/json, text/javascript, */*; q=0.01",
            "Content-Type": "application/json",
            "X-Auth-Token": self.token,
        }
        body = None
        if verb == "GET":
            path += f"{'&' if '?' in path else '?'}_={int(time.time() * 1000)}"
        else:
            body = json.dumps({"data": {**(data or {}), "ui_metadata": {"version": "5.0.0", "ui": "monster-ui"}}})
        answer = self.browser.send(verb, f"/v2/{path}", headers, body)
        if 200 <= answer.status <= 299:
            return json.loads(answer.text)
        is_parsed = answer.text != "" and answer.content_type == "application/json"
        raise RequestFailed(answer.status, json.loads(answer.text) if is_parsed else {})


@pytest.fixture
def monster(server: Server, directory: Directory) -> ImitatedMonsterUi:
    """A monster-ui that has logged in with a token of the reseller."""
    return ImitatedMonsterUi(server.port, directory.tokens["reseller"])


def test_a_list_has_what_its_apps_show(monster: ImitatedMonsterUi, server: Server) -> None:
    """Its GET has a Content-Type and a time in the query. Old apps read these keys, with Gregorian times."""
    rows = monster.request("GET", "accounts/reseller/registrations")["data"]
    assert {row["call_id"] for row in rows} == {phone.call_id for phone in server.phones[:2]}
    for row in rows:
        assert (row["from_user"], row["authorizing_id"]) == ("alice", "device-alice")
        for key in ("event_timestamp", "initial_registration", "last_registration"):
            assert abs(row[key] - GREGORIAN_OFFSET - time.time()) < 3600


def test_a_time_in_the_query_leaves_the_rest_of_it(monster: ImitatedMonsterUi) -> None:
    """The time comes after the app's filters, and two requests get the same revision."""
    path = "accounts/reseller/registrations?filter_proxy_protocol=tcp"
    first, second = monster.request("GET", path), monster.request("GET", path)
    assert [row["proxy_protocol"] for row in first["data"]] == ["tcp"]
    assert first["revision"] == second["revision"]


def test_the_status_of_devices_and_a_restart(monster: ImitatedMonsterUi) -> None:
    """Its apps show the status and the restart button in their device lists. It takes a 202 as a success."""
    status = monster.request("GET", "accounts/reseller/devices/status")["data"]
    assert status == [{"device_id": "device-alice", "registered": True}]
    restarted = monster.request("POST", "accounts/reseller/devices/device-alice/sync")
    assert (restarted["status"], restarted["data"]) == ("success", "sync request sent")


def test_an_app_finds_the_device_of_a_registration(monster: ImitatedMonsterUi) -> None:
    """OpenTelecom/monster-ui-registrations joins registrations and devices by ID, then asks for each device."""
    registrations = monster.request("GET", "accounts/reseller/registrations")["data"]
    devices = {each["id"]: each for each in monster.request("GET", "accounts/reseller/devices")["data"]}
    for registration in registrations:
        device = devices[registration["authorizing_id"]]
        assert (device["device_type"], device["enabled"]) == ("sip_device", True)
        assert isinstance(device["name"], str)
        shown = monster.request("GET", f"accounts/reseller/devices/{device['id']}")["data"]
        assert shown["sip"]["username"] == registration["username"].lower()


def test_a_delete_carries_a_body(monster: ImitatedMonsterUi) -> None:
    """The body has the app's metadata in data, which we ignore. It deletes one username, then all."""
    assert monster.request("DELETE", "accounts/child/registrations/bob")["data"] == "ok"
    assert monster.request("GET", "accounts/child/registrations/count")["data"] == {"count": 0}
    assert monster.request("DELETE", "accounts/reseller/registrations")["data"] == "ok"
    assert monster.request("GET", "accounts/reseller/registrations")["data"] == []


def test_a_login_comes_with_a_token_that_is_none(server: Server) -> None:
    """Its first requests already have the header. Only the key counts, and metadata beside it are accepted."""
    monster = ImitatedMonsterUi(server.port)
    envelope = monster.request("PUT", "api_auth", {"api_key": server.api_key})
    monster.token = envelope["auth_token"]
    account = envelope["data"]["account_id"]
    assert len(monster.request("GET", f"accounts/{account}/registrations")["data"]) == 2
    assert monster.request("DELETE", "token_auth")["status"] == "success"


def test_it_can_parse_every_failure(monster: ImitatedMonsterUi, server: Server) -> None:
    """The Content-Type is the one that it expects, and the body has the request's ID, a message and data."""
    server.registrar.stop()
    for verb, path, status in (
        ("GET", "accounts/reseller/registrations?page_size=many", 400),
        ("GET", "accounts/admin/registrations", 403),
        ("DELETE", "accounts/reseller/registrations/nosuch", 404),
        ("GET", "about", 404),
        ("POST", "accounts/reseller/registrations", 405),
        ("POST", "accounts/reseller/devices/device-alice/sync", 503),
    ):
        with pytest.raises(RequestFailed) as failed:
            monster.request(verb, path)
        parsed = failed.value.parsed
        assert (failed.value.status, parsed["error"], parsed["status"]) == (status, str(status), "error")
        assert parsed["request_id"]
        assert isinstance(parsed["message"], str)
        assert parsed["data"]


def test_an_app_sees_that_a_path_or_a_method_is_not_there(monster: ImitatedMonsterUi) -> None:
    """After the preflight the browser passes on the 404 of a login by user, and the 405."""
    for verb, path, status in (("PUT", "user_auth", 404), ("PATCH", "accounts/reseller/registrations", 405)):
        with pytest.raises(RequestFailed) as failed:
            monster.request(verb, path)
        assert failed.value.status == status
        assert failed.value.parsed["error"] == str(status)


def test_its_dialog_can_name_the_bad_field(monster: ImitatedMonsterUi) -> None:
    """It iterates over the fields and rules of a 400 and shows each message."""
    with pytest.raises(RequestFailed) as failed:
        monster.request("GET", "accounts/reseller/registrations?page_size=many")
    shown = [
        f'"{field}": {error["message"]}'
        for field, rules in failed.value.parsed["data"].items()
        for error in rules.values()
    ]
    assert len(shown) == 1
    assert shown[0].startswith('"page_size": ')


def test_it_sees_that_its_session_ended(server: Server, monster: ImitatedMonsterUi) -> None:
    """A 401 passes the browser, so that it asks for a login."""
    with pytest.raises(RequestFailed) as failed:
        ImitatedMonsterUi(server.port, "dead").request("GET", "accounts/reseller/registrations")
    assert failed.value.status == 401
    assert failed.value.parsed["message"] == "invalid_credentials"
