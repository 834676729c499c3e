"""Each example of the document is a real reply, and every reply has an example."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from api.document import read_document
from api.server.waiting import waited
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.openapi.examples import (
    ACCOUNT,
    EXAMPLES,
    NODE,
    ask,
    example,
    fill,
    repeatable,
    repeatable_csv,
)
from tests.stand.postgres import Cluster

REQUESTS = {"api_auth_request"}


@pytest.fixture
def world(
    request: pytest.FixtureRequest,
    start_api: StartApi,
    start_kamailio: StartKamailio,
    database: psycopg.Connection,
    database_url: str,
    add_binding: AddBinding,
    postgres: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FlaskClient]:
    """A client of an API with the sample, in the circumstances of the example."""
    add_phone = fill(database, database_url, add_binding)
    match request.param:
        case "plain":
            yield start_api(api_node=NODE)
        case "third phone":
            add_phone(
                "surgery-2",
                contact="sip:surgery-2@192.168.10.35:50118;transport=tls",
                received=None,
                callid="313734383337@192.168.10.35",
                path="<sip:edge1.telecom.example.com;transport=tls;lr>",
                socket="tls:203.0.113.1:5061",
                user_agent="PolyEdge-E350-UA/8.1.2",
            )
            yield start_api(api_node=NODE)
        case "kamailio" | "flushed":
            registrar = start_kamailio()
            host, port = registrar.sip
            database.execute(
                "update location set socket = %s, received = 'sip:127.0.0.1:9', path = null", (f"udp:{host}:{port}",)
            )
            database.execute("update registration_source set received = 'sip:127.0.0.1:9'")
            http = start_api(f"1={registrar.rpc_url}", api_node=NODE)
            if request.param == "flushed":
                assert ask(http, EXAMPLES["flushed"]).status_code == 200
            yield http
        case "limited":
            http = start_api(api_node=NODE, api_rate_burst=1, api_rate_refill=0.01)
            assert ask(http, EXAMPLES["count"]).status_code == 200
            yield http
        case "busy":
            waiting = waited.set(60.0)
            yield start_api(api_node=NODE)
            waited.reset(waiting)
        case "broken":
            database.execute("drop view registrations")
            yield start_api(api_node=NODE)
        case "no space":
            monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
            monkeypatch.setattr("api.spool.MEMORY_BYTES", 1)
            yield start_api(api_node=NODE)
        case "read-only":
            database.execute(f"alter database {database.info.dbname} set default_transaction_read_only = on")
            yield start_api(api_node=NODE)
        case "no database":
            postgres.stop()
            try:
                yield start_api(api_node=NODE)
            finally:
                postgres.start()


@pytest.mark.parametrize(
    ("name", "world"), [(name, asked.world) for name, asked in EXAMPLES.items()], indirect=["world"]
)
def test_an_example_is_what_a_request_gets(world: FlaskClient, name: str) -> None:
    """Reply and example are equal except for times, a new token and the version. The client checks the schema."""
    asked = EXAMPLES[name]
    response = ask(world, asked)
    if response.mimetype == "text/csv":
        assert repeatable_csv(example(name)) == repeatable_csv(response.text)
    else:
        assert repeatable(example(name), asked.unlike) == repeatable(response.get_json(), asked.unlike)


def _contents(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every media type of the document that has examples or a schema."""
    if isinstance(node, dict):
        yield from node.get("content", {}).values()
        for inner in node.values():
            yield from _contents(inner)


def test_every_example_is_shown_and_is_asked_for() -> None:
    """Every example has its request, and every answer except the document itself has an example."""
    document = read_document()
    shown = {
        each["$ref"].removeprefix("#/components/examples/")
        for content in _contents({"paths": document["paths"], "components": document["components"]})
        for each in content.get("examples", {}).values()
    }
    assert shown == set(document["components"]["examples"]) == set(EXAMPLES) | REQUESTS
    without = [content["schema"] for content in _contents(document) if "examples" not in content]
    assert [each.get("required", each.get("$ref")) for each in without] == [
        ["openapi", "info", "paths", "components"],
        "#/components/schemas/RequestEnvelope",
    ]


def test_parameters_are_shown_with_values_of_the_sample() -> None:
    """The examples of parameters are an account and a device that exist in the demo."""
    parameters = read_document()["components"]["parameters"]
    devices = {each["device_id"] for each in example("devices_status")["data"]}
    users = {each["username"] for each in example("registrations")["data"]}
    assert parameters["account_id"]["example"] == ACCOUNT
    assert parameters["device_id"]["example"] in devices
    assert parameters["username"]["example"] in users
    assert json.dumps(example("registrations"))
