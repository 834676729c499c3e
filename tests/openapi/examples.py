"""The requests whose replies the document shows as examples, and the sample data for them.

The sample is the demo's directory with two phones of the account Harbour Dental. The comparison leaves out values that
differ at each run: times and what depends on them, the new token, and the version.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.document import read_document
from sql.connections.database import connect
from sql.directory.importing import import_directory
from sql.settings import DatabaseSettings
from tests.demo.sample import DIRECTORY, read_sample
from tests.fixtures.location import AddBinding

SAMPLE = read_sample()
ACCOUNT = SAMPLE.child.id
FRONT_DESK = "684f8276c3dbe113585c2e2f07f193c5"
REGISTRATIONS = f"/v2/accounts/{ACCOUNT}/registrations"
NODE = "api1.telecom.example.com"
SIP_NODE = "sip1.telecom.example.com"
REQUEST_ID = "7c9d1f0c5b1e4b7f8c9a3d2e1f0a9b8c"
# Made up for the document. During a test the database has their digests.
TOKEN = "4d3f8f6f2c0e4b8e9a7d5c3b1a0f9e8d7c6b5a4938271605f4e3d2c1b0a99887"
ADMIN_TOKEN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5061728394a5b6c7d8e9f"
API_KEY = "5f0d9a3c7b2e48619d4c8f7a6b5e3d2c1f0e9d8c7b6a594837261504f3e2d1c0"
FLUSH = {"id", "revision", "requested", "finished", "attempted", "confirmed"}
LAST_FLUSH = "last"
TIMES = {"event_timestamp", "initial_registration", "last_registration"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request.

    Attributes:
        method: the verb.
        path: with its query.
        world: the circumstances of the request, by a name that the test knows.
        token: sent with the request; None: no token.
        body: sent unchanged if it is a string, or else as JSON.
        unlike: further keys of this reply that differ at each run.
    """

    method: str = "GET"
    path: str
    world: str = "plain"
    token: str | None = TOKEN
    body: Any = None
    unlike: set[str] = field(default_factory=set)


def example(name: str) -> Any:
    """Return the value of an example of the document."""
    return read_document()["components"]["examples"][name]["value"]


EXAMPLES: dict[str, Asked] = {
    "registrations": Asked(path=REGISTRATIONS, unlike={"revision"}),
    "registrations_page": Asked(
        path=f"{REGISTRATIONS}?page_size=1&has_key=proxy_path", unlike={"revision"}, world="third phone"
    ),
    "registrations_csv": Asked(path=f"{REGISTRATIONS}?accept=csv"),
    "count": Asked(path=f"{REGISTRATIONS}/count"),
    "flushed": Asked(method="DELETE", path=REGISTRATIONS, world="kamailio", unlike={"flush_id"}),
    "flushes": Asked(path=f"{REGISTRATIONS}/flushes", world="flushed", unlike=FLUSH),
    "flush": Asked(path=f"{REGISTRATIONS}/flushes/{LAST_FLUSH}", world="flushed", unlike=FLUSH),
    "devices": Asked(path=f"/v2/accounts/{ACCOUNT}/devices", unlike={"revision"}),
    "devices_csv": Asked(path=f"/v2/accounts/{ACCOUNT}/devices?accept=csv"),
    "device": Asked(path=f"/v2/accounts/{ACCOUNT}/devices/{FRONT_DESK}"),
    "devices_status": Asked(path=f"/v2/accounts/{ACCOUNT}/devices/status"),
    "sync_sent": Asked(method="POST", path=f"/v2/accounts/{ACCOUNT}/devices/{FRONT_DESK}/sync", world="kamailio"),
    "token_created": Asked(
        method="PUT", path="/v2/api_auth", token=None, body="api_auth_request", unlike={"auth_token"}
    ),
    "token_shown": Asked(path="/v2/token_auth"),
    "token_revoked": Asked(method="DELETE", path="/v2/token_auth"),
    "live": Asked(path="/live", token=None),
    "ready": Asked(path="/ready", token=None, world="kamailio"),
    "not_ready": Asked(path="/ready", token=None, world="no database"),
    "read_only": Asked(path="/ready?writes=false", token=None, world="read-only"),
    "invalid_parameter": Asked(path=f"{REGISTRATIONS}?page_size=5000"),
    "parse_error": Asked(method="DELETE", path=REGISTRATIONS, body="{"),
    "invalid_field": Asked(
        method="PUT", path="/v2/api_auth", token=None, body={"data": {"api_key": API_KEY, "restrictions": []}}
    ),
    "invalid_credentials": Asked(path=REGISTRATIONS, token=None),
    "forbidden": Asked(path=f"/v2/accounts/{SAMPLE.other_child.id}/registrations"),
    "unknown_account": Asked(path="/v2/accounts/00000000000000000000000000000000/registrations", token=ADMIN_TOKEN),
    "unknown_username": Asked(method="DELETE", path=f"{REGISTRATIONS}/nobody"),
    "unknown_flush": Asked(path=f"{REGISTRATIONS}/flushes/00000000000000000000000000000000"),
    "unknown_device": Asked(method="POST", path=f"/v2/accounts/{ACCOUNT}/devices/nothing/sync"),
    "invalid_method": Asked(method="PUT", path=REGISTRATIONS),
    "not_acceptable": Asked(path=f"{REGISTRATIONS}/count?accept=csv"),
    "request_too_large": Asked(method="DELETE", path=REGISTRATIONS, body="x" * 70000),
    "too_many_requests": Asked(path=f"{REGISTRATIONS}/count", world="limited"),
    "unspecified_fault": Asked(path=REGISTRATIONS, world="broken"),
    "datastore_unreachable": Asked(path=REGISTRATIONS, world="no database"),
    "datastore_read_only": Asked(method="DELETE", path=REGISTRATIONS, world="read-only"),
    "storage_exhausted": Asked(path=REGISTRATIONS, world="no space"),
    "server_busy": Asked(path=REGISTRATIONS, world="busy"),
    "registrar_unreachable": Asked(method="POST", path=f"/v2/accounts/{ACCOUNT}/devices/{FRONT_DESK}/sync"),
}


def ask(http: FlaskClient, asked: Asked) -> TestResponse:
    """Send the request."""
    headers = {"X-Request-ID": REQUEST_ID}
    if asked.token is not None:
        headers["X-Auth-Token"] = asked.token
    body = example(asked.body) if asked.body == "api_auth_request" else asked.body
    data = body if isinstance(body, str | None) else json.dumps(body)
    path = asked.path
    if path.endswith(LAST_FLUSH):
        flushes = http.get(path.removesuffix(f"/{LAST_FLUSH}"), headers=headers).get_json()
        path = path.replace(LAST_FLUSH, flushes["data"][0]["id"])
    return http.open(path, method=asked.method, headers=headers, data=data)


def repeatable(value: Any, unlike: set[str]) -> Any:
    """Return the value, with types in place of values that differ at each run."""
    never = {"timestamp", "version"} | TIMES | unlike
    if isinstance(value, dict):
        return {
            key: type(inner).__name__ if key in never else repeatable(inner, unlike) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [repeatable(inner, unlike) for inner in value]
    return value


def repeatable_csv(text: str) -> list[dict[str, str]]:
    """Return the lines without times."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{key: "" if key in TIMES else value for key, value in row.items()} for row in rows]


def fill(database: psycopg.Connection, database_url: str, add_binding: AddBinding) -> Callable[..., str]:
    """Insert the sample; return a function that adds one more phone."""
    with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
        import_directory(connection, [str(DIRECTORY)], replace=False, report=print)
    for token, account in ((TOKEN, ACCOUNT), (ADMIN_TOKEN, SAMPLE.admin.id)):
        database.execute(
            "insert into auth_token (token_hash, account_id) values (%s, %s)",
            (hashlib.sha256(token.encode()).digest(), account),
        )
    database.execute(
        "update account set api_key_hash = %s where id = %s", (hashlib.sha256(API_KEY.encode()).digest(), ACCOUNT)
    )
    database.execute(
        "insert into kamailio_node values (1, 'kamailio@sip1.telecom.example.com', 'sip1.telecom.example.com')"
    )

    def add_phone(username: str, **columns: Any) -> str:
        return add_binding(username, SAMPLE.child.realm, source=columns.get("received"), **columns)

    add_phone(
        "frontdesk",
        contact="sip:frontdesk@192.168.10.21:5060",
        received="sip:198.51.100.7:40221",
        callid="0_1183467190@192.168.10.21",
        user_agent="Yealink SIP-T54W 96.86.0.100",
    )
    add_phone(
        "surgery-1",
        contact="sip:surgery-1@192.168.10.34:49312;transport=tls",
        received=None,
        callid="313734383336@192.168.10.34",
        path="<sip:edge1.telecom.example.com;transport=tls;lr>",
        socket="tls:203.0.113.1:5061",
        user_agent="PolyEdge-E350-UA/8.1.2",
        instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>",
        reg_id=1,
    )
    return add_phone
