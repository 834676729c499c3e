"""What only the operator's machines are called: URLs, hosts, paths, users. No tenant's answer has any of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from flask.testing import FlaskClient
from psycopg import sql

from sql.flushes.requests import request_flush
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster
from tests.stand.routes import every_route

TARGET = {"account_id": "child", "username": "bob", "device_id": "device-bob"}
FLUSHES = "/v2/accounts/child/registrations/flushes"
# Nothing serves at any of them; each way has words of its own for that.
AWAY = [
    "http://127.0.0.1:1/inner-rpc",
    "http://inner-host.invalid:5097/inner-rpc",
    "unix:/nonexistent/inner.sock",
    "fifo:/nonexistent/inner.fifo",
    "1=http://127.0.0.1:1/inner-rpc,2=unix:/nonexistent/inner.sock",
]
INSIDE = re.compile(
    r"inner|127\.0\.0\.1:1|nonexistent|://|\.sock|\.fifo|inner-user|registrations_api|psycopg|relation|refused"
)


@contextmanager
def _in_order(_database: psycopg.Connection, _postgres: Cluster) -> Iterator[None]:
    yield


def _stopped(_database: psycopg.Connection, postgres: Cluster) -> AbstractContextManager[None]:
    return postgres.stopped()


@contextmanager
def _no_right(database: psycopg.Connection, _postgres: Cluster) -> Iterator[None]:
    for table in ("flush", "location", "registrations"):
        database.execute(sql.SQL("revoke all on {} from registrations_api").format(sql.Identifier(table)))
    yield


def _answers(http: FlaskClient, token: str | None, *, but: str) -> dict[str, str]:
    """Headers and body of the answer of every route, also of those that the token does not open."""
    found = {}
    for route in every_route(http.application):
        if route.rule.startswith("/v2/docs") or (route.method, route.rule) == ("DELETE", but):
            continue
        headers = {} if token is None else {"X-Auth-Token": token}
        response = http.open(route.path(TARGET), method=route.method, headers=headers)
        if route.rule != "/v2/openapi.json":
            found[f"{route.method} {route.rule}"] = f"{response.headers}{response.text}"
    return found


@pytest.mark.parametrize(
    ("rpc", "database_is"), [*((rpc, _in_order) for rpc in AWAY), (AWAY[0], _stopped), (AWAY[0], _no_right)]
)
def test_no_answer_tells_a_tenant_of_the_inside(
    start_api: StartApi, directory: Directory, add_binding: AddBinding, database: psycopg.Connection, postgres: Cluster,
    rpc: str, database_is: type,
) -> None:  # fmt: skip
    """Whatever is broken: every route, with the token of the account and without one; metrics are not here."""
    http = start_api(kamailio_rpc=rpc)
    add_binding("bob", "child.test")
    token = directory.tokens["child"]
    assert http.delete("/v2/accounts/child/registrations/bob", headers={"X-Auth-Token": token}).status_code == 200
    request_flush(database, "child", username="bob", cause="command", requested_by="inner-user", lease=0, late=False)
    shown = http.get(FLUSHES, headers={"X-Auth-Token": token}).text
    assert '"error":"KamailioUnreachable"' in shown
    assert '"requested_by":"operator"' in shown
    with database_is(database, postgres):
        for whose in (token, None):
            for route, answer in _answers(http, whose, but="/v2/token_auth").items():
                assert INSIDE.search(answer) is None, (route, answer)


def test_a_superduper_admin_is_told_all(
    start_api: StartApi, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """The URL that was called, the reason, and who was at the shell: so that an operator need not look at the log."""
    http = start_api(kamailio_rpc=AWAY[0])
    add_binding("bob", "child.test")
    headers = {"X-Auth-Token": directory.tokens["admin"]}
    answer = http.delete("/v2/accounts/child/registrations/bob", headers=headers).get_json()
    request_flush(database, "child", username="bob", cause="command", requested_by="inner-user", lease=0, late=False)
    command, request = http.get(FLUSHES, headers=headers).get_json()["data"]
    alone = http.get(f"{FLUSHES}/{answer['flush_id']}", headers=headers).get_json()["data"]
    assert (command["requested_by"], request["id"]) == ("inner-user", answer["flush_id"])
    for shown in (request, alone):
        (node,) = shown["nodes"]
        assert node["error"].startswith("KamailioUnreachable: ")
        assert AWAY[0] in node["error"]
