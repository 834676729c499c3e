"""An imitation of monster-ui, its SDK in a browser of another origin, against a server as it is run.

What it sends and how it reads answers is as in 2600hz/monster-ui, src/js/lib/jquery.kazoosdk.js; none of its code is
here. Its browser asks before each request whether it may (Fetch standard, CORS), since a token and JSON are no simple
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
    """The browser keeps the app from sending, or from reading the answer."""


@dataclass(frozen=True)
class Answer:
    """What an app gets of an answer."""

    status: int
    content_type: str | None
    text: str


class RequestFailed(Exception):
    """What monster-ui hands to an app's `error`: the parsed body, or nothing when it does not parse it."""

    def __init__(self, status: int, parsed: dict[str, Any]) -> None:
        super().__init__(f"{status}: {parsed}")
        self.status = status
        self.parsed = parsed


class ImitatedBrowser:
    """A page of another origin that uses XMLHttpRequest."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Answer:
        """Send it after a preflight.

        Raises:
            Blocked: the server did not allow it to this origin.
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
    """Requests as its SDK sends them; before a login the token is JavaScript's word for nothing."""

    def __init__(self, port: int, token: str = "undefined") -> None:
        self.browser = ImitatedBrowser(port)
        self.token = token

    def request(self, verb: str, path: str, data: dict[str, Any] | None = None) -> Any:
        """Return the envelope.

        Raises:
            RequestFailed: the status was no success.
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
    """Logged in with a token of the reseller."""
    return ImitatedMonsterUi(server.port, directory.tokens["reseller"])


def test_a_list_has_what_its_apps_show(monster: ImitatedMonsterUi, server: Server) -> None:
    """A GET with Content-Type and a time in the query; old apps read these keys in every row, and count years."""
    rows = monster.request("GET", "accounts/reseller/registrations")["data"]
    assert {row["call_id"] for row in rows} == {phone.call_id for phone in server.phones[:2]}
    for row in rows:
        assert (row["from_user"], row["authorizing_id"]) == ("alice", "device-alice")
        for key in ("event_timestamp", "initial_registration", "last_registration"):
            assert abs(row[key] - GREGORIAN_OFFSET - time.time()) < 3600


def test_a_time_in_the_query_leaves_the_rest_of_it(monster: ImitatedMonsterUi) -> None:
    """It comes after the filters that an app gives, and two requests have the same revision."""
    path = "accounts/reseller/registrations?filter_proxy_protocol=tcp"
    first, second = monster.request("GET", path), monster.request("GET", path)
    assert [row["proxy_protocol"] for row in first["data"]] == ["tcp"]
    assert first["revision"] == second["revision"]


def test_the_status_of_devices_and_a_restart(monster: ImitatedMonsterUi) -> None:
    """What its apps show and press in their lists of devices; a 202 is a success to it."""
    status = monster.request("GET", "accounts/reseller/devices/status")["data"]
    assert status == [{"device_id": "device-alice", "registered": True}]
    restarted = monster.request("POST", "accounts/reseller/devices/device-alice/sync")
    assert (restarted["status"], restarted["data"]) == ("success", "sync request sent")


def test_a_delete_carries_a_body(monster: ImitatedMonsterUi) -> None:
    """With the app's metadata in data, which mean nothing to us; one username, then all."""
    assert monster.request("DELETE", "accounts/child/registrations/bob")["data"] == "ok"
    assert monster.request("GET", "accounts/child/registrations/count")["data"] == {"count": 0}
    assert monster.request("DELETE", "accounts/reseller/registrations")["data"] == "ok"
    assert monster.request("GET", "accounts/reseller/registrations")["data"] == []


def test_a_login_comes_with_a_token_that_is_none(server: Server) -> None:
    """Its requests have the header from the first on; only the key counts, and metadata beside it are let through."""
    monster = ImitatedMonsterUi(server.port)
    envelope = monster.request("PUT", "api_auth", {"api_key": server.api_key})
    monster.token = envelope["auth_token"]
    account = envelope["data"]["account_id"]
    assert len(monster.request("GET", f"accounts/{account}/registrations")["data"]) == 2
    assert monster.request("DELETE", "token_auth")["status"] == "success"


def test_it_can_parse_every_failure(monster: ImitatedMonsterUi, server: Server) -> None:
    """Content-Type is what it compares with, and the body has the ID of the request, a message and data."""
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


def test_its_browser_sends_no_method_that_the_path_does_not_have(monster: ImitatedMonsterUi) -> None:
    """A preflight allows what there is, so the others end in the browser."""
    with pytest.raises(Blocked, match="method PATCH"):
        monster.request("PATCH", "accounts/reseller/registrations")


def test_its_dialog_can_name_the_bad_field(monster: ImitatedMonsterUi) -> None:
    """It walks through fields and rules of a 400 and shows each message."""
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
    """A 401 reaches it through the browser, so that it asks for a login."""
    with pytest.raises(RequestFailed) as failed:
        ImitatedMonsterUi(server.port, "dead").request("GET", "accounts/reseller/registrations")
    assert failed.value.status == 401
    assert failed.value.parsed["message"] == "invalid_credentials"
