"""The envelope of a success: its keys, the entity tag, the request ID, and trailing slashes."""

from __future__ import annotations

import re

from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding

PATH = "/v2/accounts/child/registrations"


def _headers(directory: Directory, **more: str) -> dict[str, str]:
    return {"X-Auth-Token": directory.tokens["child"], "Content-Type": "application/json", **more}


def test_a_success_has_the_keys_of_crossbar(http: FlaskClient, directory: Directory) -> None:
    """auth_token, data, node, request_id, revision, status, timestamp, version; a GET may say JSON without a body."""
    response = http.get(f"{PATH}?_=1700000000", headers=_headers(directory))
    envelope = response.get_json()
    assert envelope.pop("page_size") == 0  # of a list
    assert envelope.keys() == {
        "auth_token", "data", "node", "request_id", "revision", "status", "timestamp", "version",
    }  # fmt: skip
    assert (envelope["status"], envelope["data"]) == ("success", [])
    assert envelope["auth_token"] == directory.tokens["child"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", envelope["timestamp"])
    assert response.headers["Content-Type"] == "application/json"


def test_equal_data_has_an_equal_revision_and_other_data_another(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """The revision is the ETag; If-None-Match with it gives 304 until something registers."""
    first = http.get(PATH, headers=_headers(directory))
    again = http.get(PATH, headers=_headers(directory))
    assert first.get_json()["revision"] == again.get_json()["revision"]
    assert first.headers["ETag"] == f'"{first.get_json()["revision"]}"'
    conditional = _headers(directory, **{"If-None-Match": first.headers["ETag"]})
    assert http.get(PATH, headers=conditional).status_code == 304
    add_binding("bob", "child.test")
    assert http.get(PATH, headers=conditional).status_code == 200


def test_the_clients_own_request_id_is_kept_if_it_is_sane(http: FlaskClient, directory: Directory) -> None:
    """Anything else is replaced, so that it can break neither a header nor a log line."""
    sane = http.get(PATH, headers=_headers(directory, **{"X-Request-ID": "abc-123"}))
    assert sane.headers["X-Request-ID"] == sane.get_json()["request_id"] == "abc-123"
    for bad in ("x" * 129, "a b", "é"):
        response = http.get(PATH, headers=_headers(directory, **{"X-Request-ID": bad}))
        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_a_trailing_slash_makes_no_difference(http: FlaskClient, directory: Directory) -> None:
    """Some clients send one, with every verb."""
    assert http.get(f"{PATH}/", headers=_headers(directory)).get_json()["data"] == []
    assert http.get(f"{PATH}/count/", headers=_headers(directory)).get_json()["data"] == {"count": 0}
    assert http.delete(f"{PATH}/nosuch/", headers=_headers(directory)).get_json()["data"] == ["nosuch"]
    # Nothing is registered, so Kamailio need not be asked.
    assert http.delete(f"{PATH}/", headers=_headers(directory)).get_json()["data"] == "ok"
