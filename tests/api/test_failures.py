"""Every failure has its status, message, error, data, content type and request ID, as in the contract."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

LIST = "/v2/accounts/{account}/registrations"
CREDENTIALS = {"message": "invalid credentials"}
SYNC = "/v2/accounts/{}/devices/{}/sync"
BAD_IDENTIFIER = {"message": "bad identifier"}
METHOD = {"message": "method not allowed"}

# method, path, whose token, body, status, message, data
FAILURES: list[tuple[str, str, str | None, str | None, int, str, Any]] = [
    ("GET", "/v2/accounts/child/registrations", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("GET", "/v2/accounts/child/registrations/count", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("DELETE", "/v2/accounts/child/registrations", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("DELETE", "/v2/accounts/child/registrations/bob", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("GET", "/v2/accounts/reseller/registrations", "child", None, 403, "forbidden", {"message": "forbidden"}),
    ("GET", "/v2/accounts/sibling/registrations/count", "child", None, 403, "forbidden", {"message": "forbidden"}),
    ("DELETE", "/v2/accounts/sibling/registrations", "child", None, 403, "forbidden", {"message": "forbidden"}),
    ("GET", "/v2/accounts/nowhere/registrations", "child", None, 403, "forbidden", {"message": "forbidden"}),
    ("GET", "/v2/accounts/a%00b/registrations", "child", None, 403, "forbidden", {"message": "forbidden"}),
    (
        "GET",
        "/v2/accounts/nowhere/registrations",
        "admin",
        None,
        404,
        "bad_identifier",
        {"cause": "nowhere", "message": "bad identifier"},
    ),
    ("DELETE", "/v2/accounts/child/registrations/nosuch", "child", None, 404, "bad identifier", ["nosuch"]),
    ("DELETE", "/v2/accounts/child/registrations/a%00b", "child", None, 404, "bad identifier", ["a\0b"]),
    ("DELETE", "/v2/accounts/child/registrations/alice", "child", None, 404, "bad identifier", ["alice"]),
    ("DELETE", "/v2/accounts/child/registrations/bob", "child", "{", 400, "parse_error", None),
    ("DELETE", "/v2/accounts/child/registrations/bob", "child", "[" * 60000, 400, "parse_error", None),
    ("DELETE", "/v2/accounts/child/registrations/nosuch", "child", "null", 404, "bad identifier", ["nosuch"]),
    ("PUT", "/v2/api_auth", None, None, 400, "parse_error", None),
    ("PUT", "/v2/api_auth", None, "api_key=1", 400, "parse_error", None),
    ("PUT", "/v2/api_auth", None, "[]", 400, "parse_error", None),
    (
        "PUT",
        "/v2/api_auth",
        None,
        '{"data": {"api_key": 1}}',
        400,
        "invalid data",
        {"api_key": {"type": {"message": "must be a string"}}},
    ),
    ("PUT", "/v2/api_auth", None, "{}", 401, "invalid_credentials", CREDENTIALS),
    ("PUT", "/v2/api_auth", None, '{"data": {"api_key": null}}', 401, "invalid_credentials", CREDENTIALS),
    ("PUT", "/v2/api_auth", None, '{"data": {"api_key": "wrong"}}', 401, "invalid_credentials", CREDENTIALS),
    ("GET", "/v2/api_auth", None, None, 405, "invalid_method", METHOD),
    ("GET", "/v2/token_auth", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("DELETE", "/v2/token_auth", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("GET", "/v2/nothing", "child", None, 404, "faulty_request", {"message": "faulty request"}),
    ("GET", "/", None, None, 404, "faulty_request", {"message": "faulty request"}),
    ("GET", "/v2/accounts/child/registrations/bob", "child", None, 405, "invalid_method", METHOD),
    ("DELETE", "/v2/accounts/child/registrations/count", "child", None, 405, "invalid_method", METHOD),
    ("PUT", "/v2/accounts/child/registrations", "child", "{}", 405, "invalid_method", METHOD),
    ("POST", "/v2/accounts/child/registrations/bob", "child", "{}", 405, "invalid_method", METHOD),
    ("POST", SYNC.format("child", "device-bob"), None, None, 401, "invalid_credentials", CREDENTIALS),
    ("POST", SYNC.format("sibling", "device-other"), "child", None, 403, "forbidden", {"message": "forbidden"}),
    *(
        ("POST", SYNC.format("child", given), "child", None, 404, "bad_identifier", {"cause": cause, **BAD_IDENTIFIER})
        # unknown, of a sibling, of the account above, in another case, with a NUL
        for given, cause in [
            ("nosuch", "nosuch"),
            ("device-other", "device-other"),
            ("device-alice", "device-alice"),
            ("DEVICE-BOB", "DEVICE-BOB"),
            ("a%00b", "a\0b"),
        ]
    ),
    (
        "POST",
        SYNC.format("child", "device-bob") + "?reboot=perhaps",
        "child",
        None,
        400,
        "invalid data",
        {"reboot": {"type": {"message": "Value is not true or false"}}},
    ),
    ("GET", SYNC.format("child", "device-bob"), "child", None, 405, "invalid_method", METHOD),
    (
        "DELETE",
        "/v2/accounts/child/registrations/bob",
        "child",
        "x" * 70000,
        413,
        "request_too_large",
        {"message": "request body too large"},
    ),
]


@pytest.mark.parametrize(("method", "path", "whose", "body", "status", "message", "data"), FAILURES)
def test_a_failure_is_answered_as_in_the_contract(
    http: FlaskClient,
    directory: Directory,
    method: str,
    path: str,
    whose: str | None,
    body: str | None,
    status: int,
    message: str,
    data: Any,
) -> None:
    """Status, message, error as a string, data, exact content type, and the request ID of the client."""
    headers = {"X-Request-ID": "req-1", "Content-Type": "application/json"}
    if whose:
        headers["X-Auth-Token"] = directory.tokens[whose]
    response = http.open(path, method=method, headers=headers, data=body)
    envelope = response.get_json()
    assert (response.status_code, envelope["message"], envelope["error"]) == (status, message, str(status))
    assert envelope["data"] == (data if data is not None else {"message": "failed to parse request body"})
    assert envelope["status"] == "error"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Request-ID"] == envelope["request_id"] == "req-1"
    if whose:
        assert envelope["auth_token"] == directory.tokens[whose]
    if status == 405:
        assert "OPTIONS" in response.headers["Allow"]
    if status == 503:
        assert int(response.headers["Retry-After"]) > 0


def test_a_sync_that_cannot_reach_kamailio_is_a_503(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """Nobody goes on with it later, so the client is told."""
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["child"]}
    response = http.post("/v2/accounts/child/devices/device-bob/sync", headers=headers)
    envelope = response.get_json()
    assert (response.status_code, envelope["message"]) == (503, "registrar_unreachable")
    assert envelope["data"] == {"message": "registrar timeout"}
    assert int(response.headers["Retry-After"]) > 0


def test_a_database_that_is_away_is_a_503_and_heals_by_itself(
    http: FlaskClient, directory: Directory, postgres: Cluster, add_binding: AddBinding
) -> None:
    """Never an empty 200; nothing needs a restart afterwards."""
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["child"]}
    assert http.get("/v2/accounts/child/registrations", headers=headers).status_code == 200
    postgres.stop()
    try:
        response = http.get("/v2/accounts/child/registrations", headers=headers)
        ready, live = http.get("/ready"), http.get("/live")
    finally:
        postgres.start()
    assert response.status_code == 503
    envelope = response.get_json()
    assert (envelope["message"], envelope["data"]) == ("datastore_unreachable", {"message": "datastore timeout"})
    assert int(response.headers["Retry-After"]) > 0
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.get_json()["database"] == "DatabaseUnreachable"
    again = http.get("/v2/accounts/child/registrations", headers=headers)
    assert len(again.get_json()["data"]) == 1


def test_a_database_that_is_frozen_is_a_503_as_well(
    start_api: StartApi, directory: Directory, postgres: Cluster, add_binding: AddBinding
) -> None:
    """A server that keeps its connections and says nothing hangs no request; it goes on when it wakes up."""
    http = start_api(statement_timeout=0.5)
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["child"]}
    assert http.get("/v2/accounts/child/registrations", headers=headers).status_code == 200
    postgres.freeze()
    try:
        response = http.get("/v2/accounts/child/registrations", headers=headers)
    finally:
        postgres.thaw()
    assert (response.status_code, response.get_json()["message"]) == (503, "datastore_unreachable")
    assert http.get("/v2/accounts/child/registrations", headers=headers).status_code == 200


def test_a_token_that_is_no_text_is_an_error_like_others(http: FlaskClient) -> None:
    """A lone surrogate in JSON cannot be sent back as UTF-8; the answer is in the envelope all the same."""
    response = http.delete("/v2/accounts/child/registrations", data='{"auth_token":"\\ud800"}')
    assert (response.status_code, response.get_json()["message"]) == (401, "invalid_credentials")
    assert response.headers["X-Request-ID"]


def test_a_bug_tells_nothing_of_the_inside(
    start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """A view that was dropped behind our back is a 500 without details."""
    http = start_api()
    database.execute("drop view registrations")
    response = http.get("/v2/accounts/child/registrations", headers={"X-Auth-Token": directory.tokens["child"]})
    envelope = response.get_json()
    assert (response.status_code, envelope["message"]) == (500, "unspecified_fault")
    assert envelope["data"] == {"message": "unspecified fault"}
    assert "registrations" not in response.text
