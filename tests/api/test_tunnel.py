"""A POST can say that it means another verb, and any request which type it wants, in the query or the envelope."""

from __future__ import annotations

from typing import Any

import pytest
from flask import request
from flask.testing import FlaskClient

from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding

PATH = "/v2/accounts/child/registrations"


@pytest.mark.parametrize("verb", ["delete", "DELETE"])
def test_a_post_can_be_a_delete(http: FlaskClient, directory: Directory, verb: str) -> None:
    """By the query or by the envelope, in any case; nothing is registered, so Kamailio need not be asked."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    by_query = http.post(f"{PATH}?verb={verb}", headers=headers)
    by_body = http.post(PATH, headers=headers, json={"data": {}, "verb": verb})
    unknown = http.post(f"{PATH}/nosuch", json={"verb": verb, "auth_token": directory.tokens["child"]})
    assert (by_query.status_code, by_query.get_json()["data"]) == (200, "ok")
    assert (by_body.status_code, by_body.get_json()["data"]) == (200, "ok")
    assert (unknown.status_code, unknown.get_json()["data"]) == (404, ["nosuch"])


def test_a_post_can_be_a_get_or_a_put(http: FlaskClient, directory: Directory) -> None:
    """The answer is the one of that verb, its status as well; the token may stand in the body."""
    counted = http.post(f"{PATH}/count", json={"verb": "get", "auth_token": directory.tokens["child"]})
    assert (counted.status_code, counted.get_json()["data"]) == (200, {"count": 0})
    alias = http.post("/v2/account/registrations/count/?verb=GET", headers={"X-Auth-Token": directory.tokens["child"]})
    assert (alias.status_code, alias.get_json()["data"]) == (200, {"count": 0})
    assert http.post("/v2/api_auth?verb=PUT", json={"data": {"api_key": "wrong"}}).status_code == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_get_stays_a_get(http: FlaskClient, directory: Directory, add_binding: AddBinding, method: str) -> None:
    """No link in a web page can delete: the verb is heard in a POST only."""
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["child"]}
    assert http.open(f"{PATH}?verb=DELETE", method=method, headers=headers).status_code == 200
    assert http.get(f"{PATH}/count", headers=headers).get_json()["data"] == {"count": 1}


@pytest.mark.parametrize("verb", ["FETCH", "HEAD", "OPTIONS", "CONNECT", "PATCH", "PUT", "POST", 7, ["DELETE"]])
def test_a_verb_that_the_path_does_not_have_is_refused(http: FlaskClient, directory: Directory, verb: Any) -> None:
    """405 with the verbs that it has, as if the method had been that."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    response = http.post(PATH, headers=headers, json={"verb": verb})
    assert (response.status_code, response.get_json()["message"]) == (405, "invalid_method")
    assert {"GET", "DELETE"} <= set(response.headers["Allow"].split(", "))
    assert http.post(f"/v2/nothing?verb={verb}", headers=headers).status_code == 404


def test_a_tunnelled_verb_needs_what_the_verb_needs(http: FlaskClient, directory: Directory, database_url: str) -> None:
    """A token, and one that may do that; its restrictions speak of the verb that is meant."""
    assert http.post(f"{PATH}?verb=DELETE").status_code == 401
    with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
        _, posts = create_token(connection, "child", idle_lifetime=None, restrictions={"POST": ["#"]})
        _, deletes = create_token(connection, "child", idle_lifetime=None, restrictions={"DELETE": ["#"]})
    assert http.post(f"{PATH}?verb=DELETE", headers={"X-Auth-Token": posts}).status_code == 403
    assert http.post(f"{PATH}?verb=DELETE", headers={"X-Auth-Token": deletes}).status_code == 200
    other = {"X-Auth-Token": directory.tokens["sibling"]}
    assert http.post(f"{PATH}?verb=DELETE", headers=other).status_code == 403


def test_a_body_that_is_no_json_is_a_failure_of_the_request_it_came_with(
    http: FlaskClient, directory: Directory
) -> None:
    """400 where a view would take the request, 405 where it takes none."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    assert http.post(f"{PATH}?verb=DELETE", headers=headers, data="{").status_code == 400
    assert http.post(PATH, headers=headers, data="{").status_code == 405


@pytest.mark.parametrize(
    ("query", "body", "header", "expected"),
    [
        ("?accept=csv", None, "application/json", "text/csv"),
        ("?accept=text/csv", None, None, "text/csv"),
        ("?accept=JSON", None, "text/csv", "application/json"),
        ("", {"accept": "csv"}, "application/json", "text/csv"),
        ("?accept=csv", {"accept": "json"}, None, "text/csv"),
        ("?accept=", None, "text/html", "text/html"),
        ("", None, "text/html", "text/html"),
    ],
)
def test_accept_stands_for_the_header(
    http: FlaskClient, query: str, body: dict[str, Any] | None, header: str | None, expected: str
) -> None:
    """Views see one header Accept, whichever way it came; the query goes before the body."""
    headers = {} if header is None else {"Accept": header}
    with http.application.test_request_context(f"/live{query}", method="DELETE", json=body, headers=headers):
        http.application.preprocess_request()
        assert request.accept_mimetypes.best == expected
