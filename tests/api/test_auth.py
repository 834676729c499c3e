"""api_auth gives a token for an API key, token_auth shows it and takes it back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from sql.directory.command import import_command
from sql.errors import StatementFailed
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi

KEY = "reseller-key-1"
LIST = "/v2/accounts/{}/registrations"


@pytest.fixture(autouse=True)
def api_key(directory: Directory, database: psycopg.Connection) -> None:
    """The reseller's API key, as an import would store it."""
    database.execute(
        "update account set api_key_hash = %s where id = 'reseller'", (hashlib.sha256(KEY.encode()).digest(),)
    )


def _ask(http: FlaskClient, **data: Any) -> str:
    response = http.put("/v2/api_auth", json={"data": {"api_key": KEY, **data}})
    assert response.status_code == 201, response.text
    return str(response.get_json()["auth_token"])


def _status(http: FlaskClient, token: str, path: str, method: str = "GET") -> int:
    return http.open(path, method=method, headers={"X-Auth-Token": token}).status_code


def test_an_api_key_is_good_for_a_token(http: FlaskClient, database: psycopg.Connection) -> None:
    """The envelope has the token, data says whose it is in Kazoo's words; it opens the account and those below."""
    response = http.put("/v2/api_auth", json={"data": {"api_key": KEY}})
    envelope = response.get_json()
    assert (response.status_code, envelope["status"]) == (201, "success")
    assert envelope["data"] == {
        "account_id": "reseller",
        "account_name": "The Reseller",
        "apps": [],
        "is_reseller": True,
        "language": "en-us",
        "owner_id": "",
        "reseller_id": "admin",
    }
    assert _status(http, envelope["auth_token"], LIST.format("child")) == 200
    assert _status(http, envelope["auth_token"], LIST.format("admin")) == 403
    assert envelope["auth_token"] not in str(database.execute("select * from auth_token").fetchall())


def test_the_key_of_an_imported_directory_is_good(http: FlaskClient, database_url: str, tmp_path: Path) -> None:
    """What the operator wrote into the directory as api_key is what clients send, whatever characters it has."""
    file, key = tmp_path / "directory.json", "schlüssel 鍵"
    account = {"id": "island", "name": "Island", "realm": "island.test", "parent_id": None, "api_key": key}
    file.write_text(json.dumps({"accounts": [account]}), encoding="utf-8")
    done = CliRunner().invoke(import_command, [str(file)], env={"REGISTRATIONS_DATABASE_URL": database_url})
    assert done.exit_code == 0, done.output
    response = http.put("/v2/api_auth", json={"data": {"api_key": key}})
    assert (response.status_code, response.get_json()["data"]["account_id"]) == (201, "island")


def test_every_call_makes_a_token_of_its_own(http: FlaskClient) -> None:
    """Who gives one back takes nothing from another client of the same key."""
    first, second = _ask(http), _ask(http)
    assert _status(http, first, "/v2/token_auth", "DELETE") == 200
    assert _status(http, first, LIST.format("reseller")) == 401
    assert _status(http, second, LIST.format("reseller")) == 200


@pytest.mark.parametrize(
    ("whose", "is_reseller", "reseller_id"),
    [("admin", True, "admin"), ("reseller", True, "admin"), ("child", False, "reseller")],
)
def test_the_reseller_is_the_nearest_account_above(
    http: FlaskClient, directory: Directory, whose: str, is_reseller: bool, reseller_id: str
) -> None:
    """Who has accounts below is one; at the top of the tree it is the account itself."""
    data = http.get("/v2/token_auth", headers={"X-Auth-Token": directory.tokens[whose]}).get_json()["data"]
    assert (data["account_id"], data["is_reseller"], data["reseller_id"]) == (whose, is_reseller, reseller_id)
    assert "restrictions" not in data


def test_the_key_of_a_disabled_account_is_a_wrong_one(http: FlaskClient, database: psycopg.Connection) -> None:
    """It gives no token as long as the account is disabled."""
    database.execute("update account set enabled = false where id = 'reseller'")
    assert http.put("/v2/api_auth", json={"data": {"api_key": KEY}}).status_code == 401
    assert database.execute("select count(*) from auth_token where account_id = 'reseller'").fetchone() == (1,)


def test_a_token_of_api_auth_lives_as_long_as_the_setting_says(
    start_api: StartApi, database: psycopg.Connection
) -> None:
    """An hour without use by default, or what REGISTRATIONS_API_TOKEN_IDLE_LIFETIME says."""
    for http, seconds in ((start_api(), 3600), (start_api(api_token_idle_lifetime=90), 90)):
        token = _ask(http)
        stored = "auth_token where token_hash = sha256(convert_to(%s, 'UTF8'))"
        lifetime = database.execute(f"select extract(epoch from idle_lifetime)::int from {stored}", (token,)).fetchone()
        assert lifetime == (seconds,)


def test_a_revoked_token_is_in_the_envelope_no_more(http: FlaskClient, directory: Directory) -> None:
    """DELETE is 200 with JSON, and the token then opens nothing."""
    token = directory.tokens["child"]
    response = http.delete("/v2/token_auth", headers={"X-Auth-Token": token}, json={"data": {}})
    assert (response.status_code, response.get_json()["data"]) == (200, {})
    assert "auth_token" not in response.get_json()
    assert _status(http, token, "/v2/token_auth") == 401


def test_a_restricted_token_does_only_what_it_may(http: FlaskClient) -> None:
    """Kazoo's example of a read-only token; whatever no pattern allows is a 403, token_auth as well."""
    readonly = _ask(http, restrictions={"get": ["#"]})
    assert _status(http, readonly, LIST.format("reseller")) == 200
    assert _status(http, readonly, LIST.format("reseller"), "HEAD") == 200
    assert _status(http, readonly, LIST.format("reseller"), "DELETE") == 403
    assert _status(http, readonly, "/v2/token_auth", "DELETE") == 403
    shown = http.get("/v2/token_auth", headers={"X-Auth-Token": readonly}).get_json()["data"]
    assert shown["restrictions"] == {"GET": ["#"]}
    nothing = _ask(http, restrictions={})
    assert _status(http, nothing, LIST.format("reseller")) == 403
    assert _status(http, nothing, "/v2/token_auth") == 403


def test_nothing_is_counted_for_a_token_that_may_not_count(http: FlaskClient, database_url: str) -> None:
    """It is refused although the bindings cannot be read just now; one that may count gets the same count as others."""
    path = f"{LIST.format('reseller')}/count"
    refused, counting = _ask(http, restrictions={"GET": ["account/#"]}), _ask(http, restrictions={"GET": ["#"]})
    with psycopg.connect(database_url) as locking:
        locking.execute("lock table location in access exclusive mode")
        assert _status(http, refused, path) == 403
        assert _status(http, counting, path) == 503
    counts = [http.get(path, headers={"X-Auth-Token": token}).get_json()["data"] for token in (counting, _ask(http))]
    assert counts == [{"count": 0}] * 2


def test_restrictions_open_nothing_that_the_account_does_not(http: FlaskClient) -> None:
    """They narrow a token; the tree of accounts is checked as ever."""
    everything = _ask(http, restrictions={"*": ["#"]})
    assert _status(http, everything, LIST.format("child")) == 200
    assert _status(http, everything, LIST.format("admin")) == 403
    assert _status(http, everything, "/v2/registrations/count") == 403


def test_restrictions_see_the_alias_as_what_it_stands_for(http: FlaskClient) -> None:
    """/v2/account is allowed by a pattern of the account's ID, and is no way round one."""
    token = _ask(http, restrictions={"GET": ["accounts/reseller/registrations/count"]})
    assert _status(http, token, "/v2/account/registrations/count") == 200
    assert _status(http, token, "/v2/account/registrations/count/") == 200
    assert _status(http, token, "/v2/account/registrations") == 403
    other = _ask(http, restrictions={"GET": ["accounts/child/#", "account/#"]})
    assert _status(http, other, "/v2/account/registrations") == 403


def test_a_restricted_token_cannot_widen_itself(http: FlaskClient) -> None:
    """api_auth wants the API key; a token in its place is none."""
    token = _ask(http, restrictions={"*": ["#"]})
    for data in ({}, {"restrictions": {"*": ["#"]}}, {"api_key": token}):
        response = http.put("/v2/api_auth", json={"data": data}, headers={"X-Auth-Token": token})
        assert response.status_code == 401


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({"data": "key"}, "data", "type"),
        ({"data": {"api_key": 7}}, "api_key", "type"),
        ({"data": {"api_key": KEY, "restrictions": "get"}}, "restrictions", "type"),
        ({"data": {"api_key": KEY, "restrictions": {"get": "#"}}}, "restrictions", "type"),
        ({"data": {"api_key": KEY, "restrictions": {"get": [7]}}}, "restrictions", "type"),
        ({"data": {"api_key": KEY, "restrictions": {"fetch": ["#"]}}}, "restrictions", "enum"),
        ({"data": {"api_key": KEY, "restrictions": {"get": ["a\0b"]}}}, "restrictions", "pattern"),
        ({"data": {"api_key": KEY, "restrictions": {"get": ["\ud800"]}}}, "restrictions", "pattern"),
        # The form of Kazoo's templates, which is another one.
        ({"data": {"api_key": KEY, "restrictions": {"accounts": [{"rules": {}}]}}}, "restrictions", "enum"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(
    http: FlaskClient, database: psycopg.Connection, body: dict[str, Any], field: str, rule: str
) -> None:
    """400, the field, the rule and a message for the client's author; no token is made."""
    response = http.put("/v2/api_auth", data=json.dumps(body))
    envelope = response.get_json()
    assert (response.status_code, envelope["message"], envelope["error"]) == (400, "invalid data", "400")
    assert list(envelope["data"]) == [field]
    assert list(envelope["data"][field]) == [rule]
    assert envelope["data"][field][rule]["message"]
    assert database.execute("select count(*) from auth_token where note = 'api_auth'").fetchone() == (0,)


@pytest.mark.parametrize("key", ["", "\ud800", "a\0b", "x" * 60000])
def test_a_strange_key_is_a_wrong_one(http: FlaskClient, key: str) -> None:
    """Whatever text it is, the answer is 401."""
    assert http.put("/v2/api_auth", data=json.dumps({"data": {"api_key": key}})).status_code == 401


def test_the_api_role_can_make_tokens_by_a_key_alone(http: FlaskClient) -> None:
    """It can neither insert a token for an account of its choice nor delete one whose text it does not know."""
    database = http.application.extensions["database"]
    for attempt in (
        "insert into auth_token (token_hash, account_id) values (sha256('x'), 'admin')",
        "delete from auth_token",
        "update auth_token set restrictions = null",
    ):
        with pytest.raises(StatementFailed, match="permission denied"), database.connection() as connection:
            connection.execute(attempt)
