"""A path is split before it is decoded: the user part of a SIP URI may hold a slash (RFC 3261, 25.1)."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from urllib.parse import quote

import psycopg
import pytest
from flask.testing import FlaskClient

from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.server import StartServer
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.raw_http import exchange

PATH = "/v2/accounts/child/registrations"


@pytest.mark.parametrize(
    ("username", "neighbour"),
    [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a/b"),
        ("/", "%2F"),
        ("a//b", "a/b"),
        ("../a", "a"),
        ("100%", "100%25"),
        ("count/", "count"),
        ("a/b%2f/c", "a/b/c"),
    ],
)
def test_a_phone_with_a_slash_in_its_name_is_flushed(
    username: str,
    neighbour: str,
    start_kamailio: StartKamailio,
    start_server: StartServer,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
) -> None:
    """By the real server, in both spellings of the escape; a neighbour whose name is alike stays."""
    for name in (username, neighbour):
        ha1 = hashlib.md5(f"{name}:child.test:secret".encode(), usedforsecurity=False).hexdigest()
        database.execute(
            "insert into device (id, account_id, sip_username, ha1) values (md5(%s), 'child', %s, %s)",
            (name, name, ha1),
        )
    registrar = start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))
    port = start_server(registrar.rpc_url).port
    with ExitStack() as running:
        phone, other = (
            running.enter_context(Phone(name, "child.test", "secret", proxy=registrar.sip))
            for name in (username, neighbour)
        )
        assert other.register().status == 200
        for escaped in (quote(username, safe=""), quote(username, safe="").replace("%2F", "%2f")):
            assert phone.register().status == 200
            request = (
                f"DELETE {PATH}/{escaped} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n"
                f"X-Auth-Token: {directory.tokens['child']}\r\n\r\n"
            )
            reply = exchange(port, request.encode())
            assert (reply.status, reply.json()["data"], reply.json()["flushed"]) == (200, "ok", 1)
            assert database.execute("select username from location").fetchall() == [(neighbour.lower(),)]


def _token(database_url: str, account_id: str, **options: object) -> str:
    with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
        return create_token(connection, account_id, **{"idle_lifetime": None, **options})[1]  # type: ignore[arg-type]


def test_an_encoded_slash_parts_no_segments(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> None:
    """Not in the path of an endpoint, nor in an account's or a device's ID, nor is a raw slash one of a username."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    assert http.get("/v2%2Faccounts/child/registrations", headers=headers).status_code == 404
    assert http.get("/v2/accounts/child%2Fregistrations", headers=headers).status_code == 404
    assert http.get("/v2/accounts/child%2F/registrations", headers=headers).status_code == 403
    unknown = http.delete(f"{PATH}/no%2Fbody", headers=headers)
    assert (unknown.status_code, unknown.get_json()["data"]) == (404, ["no/body"])
    raw = http.delete(f"{PATH}/no/body", headers=headers)
    assert (raw.status_code, raw.get_json()["message"]) == (404, "faulty_request")
    device = http.post("/v2/account/devices/no%2Fbody/sync", headers=headers)
    assert (device.status_code, device.get_json()["data"]["cause"]) == (404, "no/body")


def test_a_restriction_sees_one_segment(http: FlaskClient, directory: Directory, database_url: str) -> None:
    """`*` stands for a username with a slash, and the slash makes no path of it that is allowed elsewhere."""
    one = _token(database_url, "child", restrictions={"DELETE": ["accounts/child/registrations/*"]})
    two = _token(database_url, "child", restrictions={"DELETE": ["accounts/child/registrations/*/*"]})
    statuses = [http.delete(f"{PATH}/no%2Fbody", headers={"X-Auth-Token": token}).status_code for token in (one, two)]
    assert statuses == [404, 403]


def test_a_server_that_tells_no_raw_path_is_served_as_before(http: FlaskClient, directory: Directory) -> None:
    """Nor is one believed whose raw path is not the one that it routes by."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    for raw in ("", "/v2/live%2F", "http://api.test/v2/accounts/child/registrations/no%2Fbody"):
        overrides = {"RAW_URI": raw, "PATH_INFO": f"{PATH}/nobody"}
        response = http.delete(f"{PATH}/nobody", headers=headers, environ_overrides=overrides)
        assert response.get_json()["data"] == ["nobody"]


def test_the_log_has_the_path_as_it_was_meant(
    start_api: StartApi, directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    """An encoded slash is logged as one."""
    caplog.set_level("INFO")
    start_api().delete(f"{PATH}/a%2fb", headers={"X-Auth-Token": directory.tokens["child"]})
    assert [record.path for record in caplog.records if hasattr(record, "path")] == [f"{PATH}/a%2Fb"]
