"""Who may see what: tokens, the account tree, and deny by default."""

from __future__ import annotations

import psycopg
import pytest
from flask.testing import FlaskClient

from sql.errors import StatementFailed
from tests.fixtures.directory import Directory

PUBLIC = {"/live", "/ready", "/v2/api_auth", "/v2/openapi.json", "/v2/docs", "/v2/docs/<name>"}


@pytest.mark.parametrize(
    ("whose", "account", "status"),
    [
        ("child", "child", 200),
        ("reseller", "child", 200),
        ("reseller", "sibling", 200),
        ("admin", "sibling", 200),
        ("reseller", "admin", 403),
        ("child", "reseller", 403),
        ("child", "sibling", 403),
    ],
)
def test_a_token_opens_its_account_and_those_below(
    http: FlaskClient, directory: Directory, whose: str, account: str, status: int
) -> None:
    """A parent sees its descendants, a child neither its parent nor its sibling."""
    response = http.get(f"/v2/accounts/{account}/registrations", headers={"X-Auth-Token": directory.tokens[whose]})
    assert response.status_code == status


def test_a_superduper_admin_sees_accounts_beside_its_own_tree(
    http: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """The flag opens every account, whoever its parent is."""
    database.execute("insert into account (id, name, realm) values ('island', 'Island', 'island.test')")
    headers = {"X-Auth-Token": directory.tokens["admin"]}
    assert http.get("/v2/accounts/island/registrations", headers=headers).status_code == 200


def test_a_token_is_found_where_clients_put_it(http: FlaskClient, directory: Directory) -> None:
    """Header first, then query, then body, then Authorization: Bearer."""
    token, path = directory.tokens["child"], "/v2/accounts/child/registrations"
    bearer = {"Authorization": f"Bearer {token}"}
    assert http.get(path, headers={"X-Auth-Token": token}).status_code == 200
    assert http.get(f"{path}?auth_token={token}&_=1700000000").status_code == 200
    assert http.get(path, headers=bearer).status_code == 200
    assert http.delete(f"{path}/nosuch", json={"auth_token": token}).status_code == 404
    wrong = {"X-Auth-Token": "0" * 64}
    assert http.get(f"{path}?auth_token={token}", headers={**wrong, **bearer}).status_code == 401
    assert http.get(f"{path}?auth_token=wrong", headers=bearer).status_code == 401


def test_a_token_dies_of_disuse(http: FlaskClient, directory: Directory, database: psycopg.Connection) -> None:
    """After its idle lifetime it is as unknown; each use gives it a new one."""
    headers, path = {"X-Auth-Token": directory.tokens["child"]}, "/v2/accounts/child/registrations"
    database.execute("update auth_token set idle_lifetime = '1 hour', last_used_at = now() - interval '59 minutes'")
    assert http.get(path, headers=headers).status_code == 200
    fresh = database.execute(
        "select last_used_at > now() - interval '1 minute' from auth_token where account_id = 'child'"
    ).fetchone()
    assert fresh == (True,)
    database.execute("update auth_token set last_used_at = now() - interval '61 minutes'")
    assert http.get(path, headers=headers).status_code == 401


def test_a_disabled_account_has_no_tokens(
    http: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """Its own are refused; its parent's still open it."""
    database.execute("update account set enabled = false where id = 'child'")
    path = "/v2/accounts/child/registrations"
    assert http.get(path, headers={"X-Auth-Token": directory.tokens["child"]}).status_code == 401
    assert http.get(path, headers={"X-Auth-Token": directory.tokens["reseller"]}).status_code == 200


def test_every_view_wants_a_token_but_those_marked_public(http: FlaskClient, directory: Directory) -> None:
    """Walks the URL map, so that a view to come is closed unless it says otherwise."""
    closed = set()
    for rule in http.application.url_map.iter_rules():
        path = rule.rule.replace("<account_id>", "child").replace("<username:username>", "bob")
        path = path.replace("<device_id>", "device-bob").replace("<flush_id>", "any")
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            response = http.open(path, method=method)
            if response.status_code == 401:
                closed.add((method, rule.rule))
            else:
                assert rule.rule in PUBLIC, rule
    assert len(closed) == 23


def test_options_need_no_token_and_head_has_no_body(http: FlaskClient, directory: Directory) -> None:
    """OPTIONS names the verbs of the path; HEAD is GET without its body."""
    options = http.options("/v2/accounts/child/registrations")
    assert options.status_code == 200
    assert {"GET", "DELETE"} <= set(options.headers["Allow"].split(", "))
    head = http.head("/v2/accounts/child/registrations", headers={"X-Auth-Token": directory.tokens["child"]})
    assert (head.status_code, head.data) == (200, b"")


def test_the_api_role_can_read_neither_passwords_nor_tokens(http: FlaskClient, directory: Directory) -> None:
    """Even if the API were taken over, ha1, API keys and hashes of tokens stay closed to it."""
    database = http.application.extensions["database"]
    for column, table in (("ha1", "device"), ("api_key_hash", "account"), ("token_hash", "auth_token")):
        with pytest.raises(StatementFailed, match="permission denied"), database.connection() as connection:
            connection.execute(f"select {column} from {table}")
