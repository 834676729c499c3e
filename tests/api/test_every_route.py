"""Every verb of every route, of the application's own URL map, with tokens that open nothing: no answer, no change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.postgres import table_digests
from tests.stand.routes import Route, every_route

TARGET = {"account_id": "child", "username": "bob", "device_id": "device-bob"}
REFUSALS = {401: ("invalid_credentials", "invalid credentials"), 403: ("forbidden", "forbidden")}


@dataclass(frozen=True)
class Useless:
    """A token that opens nothing of the account child.

    Attributes:
        token: its text, None to send none.
        status: of every answer to it.
        spares_own: whether it opens routes all the same that are about the token's own account or the token.
    """

    token: str | None
    status: int
    spares_own: bool = False

    def refused(self, route: Route) -> bool:
        """Whether the route is closed to it."""
        own = not route.names_account and (route.has_account or route.is_for_any_token)
        return not route.is_public and not (self.spares_own and own)


KINDS = [
    "none", "empty", "unknown", "foreign", "from below", "restricted", "restricted admin", "idle", "revoked",
    "of a disabled account",
]  # fmt: skip
MakeToken = Callable[..., str]


@pytest.fixture
def make_token(database_url: str, directory: Directory) -> MakeToken:
    """Make a token of an account; takes what `sql.access.tokens.create_token` takes."""

    def make(account_id: str, **options: Any) -> str:
        with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
            return create_token(connection, account_id, **{"idle_lifetime": None, **options})[1]

    return make


def _use_up(database: psycopg.Connection, account_id: str) -> None:
    database.execute(
        "update auth_token set last_used_at = now() - interval '61 minutes'"
        " where idle_lifetime = '1 hour' and account_id = %s",
        (account_id,),
    )


@pytest.fixture
def useless(
    kind: str,
    http: FlaskClient,
    directory: Directory,
    make_token: MakeToken,
    database: psycopg.Connection,
) -> Useless:
    """A token of this kind. The account child has another one that is good."""
    token: str | None
    match kind:
        case "none":
            token = None
        case "empty":
            token = ""
        case "foreign":
            token = directory.tokens["sibling"]
        case "from below":
            database.execute("insert into account (id, parent_id, name, realm) values ('g', 'child', 'G', 'g.test')")
            token = make_token("g")
        case "restricted":
            # Everything that there is, but with a verb that nothing has; and every verb, but elsewhere.
            token = make_token("child", restrictions={"PATCH": ["#"], "*": ["accounts/sibling/#", "nowhere/#"]})
        case "restricted admin":
            token = make_token("admin", restrictions={"DELETE": ["accounts/child"]})
        case "idle":
            token = make_token("child", idle_lifetime=timedelta(hours=1))
            _use_up(database, "child")
        case "revoked":
            token = make_token("child")
            assert http.delete("/v2/token_auth", headers={"X-Auth-Token": token}).status_code == 200
        case "of a disabled account":
            token = directory.tokens["child"]
            database.execute("update account set enabled = false where id = 'child'")
        case _:
            token = "0" * 64
    own_opens = kind in {"foreign", "from below"}
    return Useless(token, 403 if own_opens or "restricted" in kind else 401, own_opens)


def _open(http: FlaskClient, route: Route, token: str | None, *, tunnelled: bool = False, **more: Any) -> Any:
    headers = {"X-Request-ID": "req-1"} | ({} if token is None else {"X-Auth-Token": token})
    path, method = route.path(TARGET), route.method
    if tunnelled:
        path, method = f"{path}?verb={method}", "POST"
    return http.open(path, **{"method": method, "headers": headers, **more})


@pytest.mark.parametrize("kind", KINDS)
def test_a_useless_token_opens_no_route_and_changes_nothing(
    http: FlaskClient, useless: Useless, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """401 or 403 in the envelope, to the verb itself, to a POST that names it, and to HEAD; no row is touched.

    A flush that was begun would stand in a table; Kamailio is away, so that a sync would be a 503.
    """
    add_binding("bob", "child.test")
    add_binding("alice", "sibling.test")
    before = table_digests(database)
    used_before = database.execute("select id, last_used_at from auth_token order by id").fetchall()
    message, words = REFUSALS[useless.status]
    closed = [r for r in every_route(http.application) if useless.refused(r)]
    assert len(closed) >= 7
    for route in closed:
        for response in (_open(http, route, useless.token), _open(http, route, useless.token, tunnelled=True)):
            envelope = response.get_json()
            assert (response.status_code, envelope["error"]) == (useless.status, str(useless.status)), route
            assert (envelope["status"], envelope["message"]) == ("error", message)
            assert envelope["data"] == {"message": words}
            assert response.headers["Content-Type"] == "application/json"
            assert response.headers["X-Request-ID"] == envelope["request_id"] == "req-1"
            assert envelope.get("auth_token") == (useless.token or None)
        if route.method == "GET":
            head = _open(http, route, useless.token, method="HEAD")
            assert (head.status_code, head.data) == (useless.status, b""), route
    assert table_digests(database) == before
    if useless.status == 401:
        assert database.execute("select id, last_used_at from auth_token order by id").fetchall() == used_before


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_route_asks_for_no_token(http: FlaskClient, useless: Useless, database: psycopg.Connection) -> None:
    """Whatever token comes along, its answer is the one without, and nothing changes."""
    before = table_digests(database)
    public = [route for route in every_route(http.application) if route.is_public]
    for route in public:
        assert _open(http, route, useless.token).status_code == _open(http, route, None).status_code
    document = {"/v2/openapi.json", "/v2/docs", "/v2/docs/<name>"}
    assert {route.rule for route in public} == {"/live", "/ready", "/v2/api_auth"} | document
    assert table_digests(database) == before


def test_an_own_token_opens_every_route_but_the_systems(
    http: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """So that the refusals above are the token's doing: the same requests, with one of the account, are let in."""
    known = {"account_id", *TARGET}
    for route in every_route(http.application):
        if route.is_public or (route.method, route.rule) == ("DELETE", "/v2/token_auth"):
            continue
        response = _open(http, route, directory.tokens["child"])
        if route.rule == "/v2/registrations/count":
            assert response.status_code == 403
            response = _open(http, route, directory.tokens["admin"])
        # What a route asks for that nobody has made is not there; all the rest is.
        expected = {200, 202} if known.issuperset(route.arguments) else {404}
        assert response.status_code in expected, route
