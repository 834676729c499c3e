"""The API behind nginx and HAProxy under a path of its own, configured as api/README.md says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.server import HOST, StartServer
from tests.stand.reverse_proxy import KINDS, reverse_proxy

COUNT = "/v2/accounts/child/registrations/count"


@pytest.fixture(params=KINDS)
def proxy(
    request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path, directory: Directory
) -> Iterator[int]:
    """The port of a proxy, with a rate limit of five requests behind it of which none comes back."""
    assert directory.tokens
    served = start_server(api_proxies="1", api_rate_burst="5", api_rate_refill="0.00001")
    with reverse_proxy(request.param, tmp_path, api_port=served.port) as port:
        yield port


def _ask(port: int, path: str, token: str = "", method: str = "GET", **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(method, path, headers={**({"X-Auth-Token": token} if token else {}), **headers})
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if response.getheader("Content-Type") == "application/json" else None
    finally:
        connection.close()


def test_the_document_names_the_path_that_the_proxy_gives(proxy: int, directory: Directory) -> None:
    """Who reads it there asks there; the page for people is there, too."""
    status, document = _ask(proxy, "/kazoo/v2/openapi.json")
    assert status == 200
    base = urljoin("/kazoo/v2/openapi.json", document["servers"][0]["url"]).rstrip("/")
    assert COUNT.replace("child", "{account_id}") in document["paths"]
    assert _ask(proxy, base + COUNT, directory.tokens["child"])[0] == 200
    assert _ask(proxy, "/kazoo/v2/docs/")[0] == 200
    assert _ask(proxy, "/kazoo/live")[0] == 200


def test_the_path_arrives_as_the_client_sent_it(proxy: int, directory: Directory, add_binding: AddBinding) -> None:
    """With the slash of a username, with its percent sign, and with the query."""
    for username in ("a/b", "100%25"):
        path = f"/kazoo/v2/accounts/child/registrations/{username.replace('%', '%25').replace('/', '%2F')}"
        assert _ask(proxy, path, directory.tokens["child"], "DELETE")[1]["data"] == [username]
    add_binding("bob", "child.test")
    page = _ask(proxy, "/kazoo/v2/accounts/child/registrations?filter_username=a%2Fb", directory.tokens["child"])[1]
    assert page["data"] == []


def test_nobody_gets_a_fresh_limit_by_a_header(proxy: int, directory: Directory) -> None:
    """The proxy's word on the client's address is the one that counts."""
    asked = [
        _ask(proxy, f"/kazoo{COUNT}", directory.tokens["child"], **{"X-Forwarded-For": f"198.51.100.{number}"})[0]
        for number in range(6)
    ]
    assert asked == [200] * 5 + [429]


def test_a_client_cannot_move_the_path(proxy: int) -> None:
    """HAProxy passes names with underscores on, nginx does not."""
    assert _ask(proxy, "/kazoo/live", SCRIPT_NAME="/kazoo")[0] == 200
    assert _ask(proxy, "/kazoo/x/live", SCRIPT_NAME="/x")[0] == 404
