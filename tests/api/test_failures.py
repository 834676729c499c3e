"""Every failure has its status, message, error, data, content type and request ID, as in the contract."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.errors import ApiError
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

LIST = "/v2/accounts/{account}/registrations"
CREDENTIALS = {"message": "invalid credentials"}
SYNC = "/v2/accounts/{}/devices/{}/sync"
BAD_IDENTIFIER = {"message": "bad identifier"}
METHOD = {"message": "method not allowed"}
NOT_ACCEPTABLE = {"message": "not acceptable"}

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
    ("GET", "/v2/accounts/child/devices", None, None, 401, "invalid_credentials", CREDENTIALS),
    ("GET", "/v2/accounts/child/devices/device-bob", None, None, 401, "invalid_credentials", CREDENTIALS),
    *(
        (method, path, "child", None, 404, "bad_identifier", {"cause": cause, **BAD_IDENTIFIER})
        # unknown, of a sibling, of the account above, in another case, with a NUL
        for given, cause in [
            ("nosuch", "nosuch"),
            ("device-other", "device-other"),
            ("device-alice", "device-alice"),
            ("DEVICE-BOB", "DEVICE-BOB"),
            ("a%00b", "a\0b"),
        ]
        for method, path in [
            ("POST", SYNC.format("child", given)),
            ("GET", f"/v2/accounts/child/devices/{given}"),
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
    *(
        (
            "GET",
            LIST.format(account="child") + query,
            "child",
            None,
            400,
            "invalid data",
            {name: {rule: {"message": words}}},
        )
        for query, name, rule, words in [
            ("?page_size=x", "page_size", "type", "Value is not a non-negative integer"),
            ("?page_size=-1", "page_size", "type", "Value is not a non-negative integer"),
            ("?page_size=0", "page_size", "minimum", "Value must be between 1 and 1000"),
            ("?page_size=1001", "page_size", "maximum", "Value must be between 1 and 1000"),
            ("?paginate=maybe", "paginate", "type", "Value is not true or false"),
            ("?ascending=2", "ascending", "type", "Value is not true or false"),
            ("?start_key=zz", "start_key", "pattern", "Value is not a start key of this list"),
            ("?created_from=now", "created_from", "type", "Value is not a non-negative integer"),
            ("?modified_to=1.5", "modified_to", "type", "Value is not a non-negative integer"),
            ("?filter_username=a%00b", "filter_username", "pattern", "Value holds what is no text"),
            ("?accept=xml", "accept", "enum", "Value is not json or csv"),
        ]
    ),
    *(
        ("PUT", "/v2/api_auth", None, f'{{"data": {data}}}', 400, "invalid data", {name: {rule: {"message": words}}})
        for data, name, rule, words in [
            ("7", "data", "type", "must be an object"),
            ('{"api_key": []}', "api_key", "type", "must be a string"),
            (
                '{"api_key": "x", "restrictions": []}',
                "restrictions",
                "type",
                "must be an object of methods, each with an array of path patterns",
            ),
            ('{"restrictions": {"get": "#"}}', "restrictions", "type", "get must have an array of path patterns"),
        ]
    ),
    ("GET", LIST.format(account="child") + "/count?accept=csv", "child", None, 406, "not_acceptable", NOT_ACCEPTABLE),
    ("GET", "/v2/account/devices/status?accept=text/csv", "child", None, 406, "not_acceptable", NOT_ACCEPTABLE),
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


def assert_failure(response: TestResponse, status: int, message: str, data: Any, *, token: str | None = None) -> None:
    """Everything that the contract says of a failure whose request had the ID req-1."""
    envelope = response.get_json()
    assert (response.status_code, envelope["message"], envelope["error"]) == (status, message, str(status))
    assert (envelope["status"], envelope["data"]) == ("error", data)
    assert envelope.keys() - {"auth_token"} == {
        "data", "error", "message", "node", "request_id", "status", "timestamp", "version",
    }  # fmt: skip
    assert envelope.get("auth_token") == token
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Request-ID"] == envelope["request_id"] == "req-1"
    assert (status in {429, 503}) == ("Retry-After" in response.headers)
    assert (status == 405) == ("Allow" in response.headers)
    assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    if status in {429, 503}:
        assert int(response.headers["Retry-After"]) > 0


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
    data = data if data is not None else {"message": "failed to parse request body"}
    assert_failure(response, status, message, data, token=directory.tokens[whose] if whose else None)
    if status == 405:
        # What the path has, and nothing else: each of these verbs is another answer than 405.
        for verb in response.headers["Allow"].split(", "):
            assert http.open(path, method=verb, headers=headers).status_code != 405


def test_a_sync_that_cannot_reach_kamailio_is_a_503(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """Nobody goes on with it later, so the client is told."""
    add_binding("bob", "child.test", source="sip:198.51.100.7:33333")
    token = directory.tokens["child"]
    headers = {"X-Auth-Token": token, "X-Request-ID": "req-1"}
    response = http.post("/v2/accounts/child/devices/device-bob/sync", headers=headers)
    assert_failure(response, 503, "registrar_unreachable", {"message": "registrar timeout"}, token=token)


def test_a_database_that_is_away_is_a_503_and_heals_by_itself(
    http: FlaskClient, directory: Directory, postgres: Cluster, add_binding: AddBinding
) -> None:
    """Never an empty 200; nothing needs a restart afterwards."""
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["child"], "X-Request-ID": "req-1"}
    assert http.get("/v2/accounts/child/registrations", headers=headers).status_code == 200
    postgres.stop()
    try:
        response = http.get("/v2/accounts/child/registrations", headers=headers)
        ready, live = http.get("/ready"), http.get("/live")
    finally:
        postgres.start()
    timeout = {"message": "datastore timeout"}
    assert_failure(response, 503, "datastore_unreachable", timeout, token=directory.tokens["child"])
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
    start_api: StartApi, directory: Directory, database: psycopg.Connection, add_binding: AddBinding
) -> None:
    """A view that was dropped behind our back is a 500 without details."""
    http = start_api()
    add_binding("bob", "child.test")
    database.execute("drop view registrations")
    token = directory.tokens["child"]
    headers = {"X-Auth-Token": token, "X-Request-ID": "req-1"}
    response = http.get("/v2/accounts/child/registrations", headers=headers)
    assert_failure(response, 500, "unspecified_fault", {"message": "unspecified fault"}, token=token)
    for inside in ("registrations", "relation", "psycopg", "Traceback", "select"):
        assert inside not in response.text + str(response.headers)


@pytest.mark.parametrize("accept", ["text/html", "text/csv;q=0", "application/xml, text/plain", "image/*", "x"])
def test_a_format_that_there_is_not_is_refused(http: FlaskClient, directory: Directory, accept: str) -> None:
    """By the header, 406, with every route of the account; any type among the wanted that there is will do."""
    token = directory.tokens["child"]
    headers = {"X-Auth-Token": token, "X-Request-ID": "req-1", "Accept": accept}
    for path in ("registrations", "registrations/count", "devices/status"):
        response = http.get(f"/v2/accounts/child/{path}", headers=headers)
        assert_failure(response, 406, "not_acceptable", NOT_ACCEPTABLE, token=token)
        also = {**headers, "Accept": f"{accept}, application/*;q=0.1"}
        assert http.get(f"/v2/accounts/child/{path}", headers=also).status_code == 200


def test_too_many_requests_are_a_429(start_api: StartApi, directory: Directory) -> None:
    """With Retry-After; the token is in the envelope, though nobody has looked it up."""
    http, token = start_api(api_rate_burst=1, api_rate_refill=0.00001), directory.tokens["child"]
    headers = {"X-Auth-Token": token, "X-Request-ID": "req-1"}
    assert http.get("/v2/accounts/child/registrations", headers=headers).status_code == 200
    response = http.get("/v2/accounts/child/registrations", headers=headers)
    assert_failure(response, 429, "too_many_requests", {"message": "too many requests"}, token=token)


def test_every_kind_of_failure_is_walked_here(http: FlaskClient) -> None:
    """A type of error that is new needs a row above, or a test of its own."""
    rows = {message for *_, message, _ in FAILURES}
    tests = {
        "unspecified_fault": test_a_bug_tells_nothing_of_the_inside,
        "too_many_requests": test_too_many_requests_are_a_429,
        "storage_exhausted": "tests.api.server.test_no_space",
        "server_busy": "tests.api.test_limits",
        "registrar_unreachable": test_a_sync_that_cannot_reach_kamailio_is_a_503,
        "datastore_read_only": "tests.end_to_end.test_read_only",
        "datastore_unreachable": test_a_database_that_is_away_is_a_503_and_heals_by_itself,
    }
    kinds: list[type[ApiError]] = [ApiError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    assert {kind.message for kind in kinds} == rows | tests.keys()
