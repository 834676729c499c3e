"""Web apps of other origins: preflights, answers that their browser lets them read, and origins that are left out."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from pydantic import ValidationError

from api.settings import ApiSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi

PATH = "/v2/accounts/child/registrations"
MONSTER = "https://monster.example.com"


def _names(header: str) -> set[str]:
    return {name.strip().lower() for name in header.split(",")}


def test_a_preflight_is_answered_without_a_token(http: FlaskClient, directory: Directory) -> None:
    """By default from every origin: all methods, the headers that monster-ui sends, good for a day."""
    asked = {
        "Origin": MONSTER,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "x-auth-token,content-type",
    }
    response = http.options(PATH, headers=asked)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert {"get", "delete"} <= _names(response.headers["Access-Control-Allow-Methods"])
    allowed = _names(response.headers["Access-Control-Allow-Headers"])
    assert {"x-auth-token", "content-type", "x-kazoo-cluster-id", "if-none-match"} <= allowed
    assert response.headers["Access-Control-Max-Age"] == "86400"
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_an_app_can_read_answers_and_failures(http: FlaskClient, directory: Directory) -> None:
    """Also a 401, a 404 and a 405, with the request's ID, the entity tag and when to come back."""
    token = {"X-Auth-Token": directory.tokens["child"]}
    for path, method, headers, status in (
        (PATH, "GET", token, 200),
        (PATH, "GET", {}, 401),
        (PATH, "PATCH", token, 405),
        ("/v2/nothing", "GET", token, 404),
    ):
        response = http.open(path, method=method, headers={"Origin": MONSTER, **headers})
        assert response.status_code == status
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert {"x-request-id", "etag", "retry-after"} <= _names(response.headers["Access-Control-Expose-Headers"])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/v2/user_auth", PATH])
def test_a_preflight_allows_the_method_that_is_asked_for(http: FlaskClient, path: str, method: str) -> None:
    """On any path, as Crossbar: otherwise the browser would hide the 404 or the 405 from the app."""
    asked = {
        "Origin": MONSTER,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "x-auth-token",
    }
    response = http.options(path, headers=asked)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert method.lower() in _names(response.headers["Access-Control-Allow-Methods"])
    assert "x-auth-token" in _names(response.headers["Access-Control-Allow-Headers"])
    assert response.headers["X-Request-ID"]


def test_nothing_that_is_asked_for_is_repeated(http: FlaskClient) -> None:
    """Whatever a client asks for, the methods are the same. An OPTIONS that is no preflight stays a 404."""
    asked = {"Origin": MONSTER, "Access-Control-Request-Method": "GET, TRACE"}
    assert "TRACE" not in http.options("/v2/nothing", headers=asked).headers["Access-Control-Allow-Methods"]
    assert http.options("/v2/nothing").status_code == 404


def test_without_an_origin_nothing_is_said(http: FlaskClient, directory: Directory) -> None:
    """Clients that are no browsers see no header more."""
    response = http.get(PATH, headers={"X-Auth-Token": directory.tokens["child"]})
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_only_origins_of_the_setting_may_read(start_api: StartApi, directory: Directory) -> None:
    """Each gets its own name; caches are told that answers differ, to the others too."""
    http = start_api(api_cors_origins=f"{MONSTER}, https://other.example.com:8443")
    headers = {"X-Auth-Token": directory.tokens["child"]}
    for origin, allowed in (
        (MONSTER, MONSTER),
        ("https://other.example.com:8443", "https://other.example.com:8443"),
        ("https://other.example.com", None),
        ("https://monster.example.com.evil.test", None),
        ("null", None),
    ):
        response = http.get(PATH, headers={**headers, "Origin": origin})
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert "origin" in _names(response.headers["Vary"])
        assert "Access-Control-Allow-Credentials" not in response.headers
    assert "origin" in _names(http.get(PATH, headers=headers).headers["Vary"])


def test_cors_can_be_switched_off(start_api: StartApi, directory: Directory) -> None:
    """An empty setting lets no app of another origin read anything."""
    response = start_api(api_cors_origins="").options(PATH, headers={"Origin": MONSTER})
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("origins", ["monster.example.com", "https://monster.example.com/", "https://*,x"])
def test_what_is_no_origin_is_a_wrong_setting(origins: str) -> None:
    """A browser never sends such a thing, so it would allow nobody."""
    with pytest.raises(ValidationError, match="api_cors_origins"):
        ApiSettings(api_cors_origins=origins)
