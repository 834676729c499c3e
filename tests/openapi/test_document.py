"""The document agrees with the application: paths, verbs, callers, keys and replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, jsonify
from openapi_spec_validator import validate
from schemathesis.core.failures import FailureGroup

from api.access import callers
from api.app import create_app
from api.document import read_document
from api.envelope import VERSION
from api.policy import Callers
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.registrations.model import KEYS
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding
from tests.openapi.contract import ALIAS, PAGE, documented_path

IMPLICIT = {"HEAD", "OPTIONS"}
VERBS = {"get", "put", "post", "delete", "patch"}
ROLES = {
    Callers.ACCOUNT: "account",
    Callers.SUPERDUPER_ADMIN: "superduper_admin",
    Callers.ANY_TOKEN: "any_token",
    Callers.PUBLIC: "public",
}
# The keys that Crossbar's documentation of a registration always has (contract, "A registration object").
DOCUMENTED_KEYS = {
    "account_name", "account_realm", "authorizing_id", "authorizing_type", "call_id", "contact", "contact_ip",
    "contact_port", "event_timestamp", "expires", "from_host", "from_user", "network_ip", "network_port",
    "original_contact", "owner_id", "proxy_ip", "proxy_port", "realm", "suppress_unregister_notify", "to_host",
    "to_user", "user_agent", "username",
}  # fmt: skip


@pytest.fixture
def app() -> Flask:
    """The application with default settings, without a database or Kamailio."""
    return create_app(
        ApiSettings(), DatabaseSettings(database_url="postgresql://nobody@127.0.0.1:1/none"), KamailioSettings()
    )


def test_the_document_is_openapi() -> None:
    """It is valid by the schema of OpenAPI 3.1. Every reference resolves, and every default is valid."""
    document = read_document()
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_paths_and_verbs_are_those_of_the_application(app: Flask) -> None:
    """Document and application have the same. The alias for one's own account has each path of an account too."""
    documented = {
        (path, verb.upper()) for path, item in read_document()["paths"].items() for verb in item.keys() & VERBS
    }
    rules = [(rule.rule, method) for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - IMPLICIT]
    served = {(documented_path(rule), method) for rule, method in rules if not rule.startswith((ALIAS, PAGE))}
    aliased = {(documented_path(rule), method) for rule, method in rules if rule.startswith(ALIAS)}
    assert documented == served
    assert aliased == {(path, method) for path, method in documented if path.startswith("/v2/accounts/{account_id}/")}


def test_security_is_who_may_call(app: Flask) -> None:
    """An operation requires a token, in one of three places, exactly if its view does, and says whose."""
    document = read_document()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith((ALIAS, PAGE)):
            continue
        for method in (rule.methods or set()) - IMPLICIT:
            operation = document["paths"][documented_path(rule.rule)][method.lower()]
            who = callers(app, rule)
            schemes = document["components"]["securitySchemes"]
            assert operation["x-callers"] == ROLES[who], rule
            assert operation["security"] == ([] if who is Callers.PUBLIC else [{each: []} for each in schemes]), rule


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping of the document that is not inside an example."""
    if isinstance(node, dict):
        yield node
        for key, inner in node.items():
            if key not in {"example", "examples"}:
                yield from _schemas(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _schemas(inner)


def test_generators_of_clients_understand_the_document() -> None:
    """openapi-typescript and openapi-python-client drop keywords beside a reference, arrays without items and boolean
    constants. They send every default.
    """
    for schema in _schemas(read_document()):
        if "$ref" in schema:
            assert schema.keys() == {"$ref"}
        if schema.get("type") == "array":
            assert "items" in schema, schema
        assert not isinstance(schema.get("const"), bool), schema
        assert "default" not in schema, schema
        assert None not in schema.values(), schema  # a stray comma in a flow mapping of YAML makes a key with null


def test_a_registration_has_the_keys_of_the_read_model() -> None:
    """It has all keys that the list can show and no other. Those of Crossbar's documentation are required."""
    registration = read_document()["components"]["schemas"]["Registration"]
    assert set(registration["properties"]) == KEYS
    assert set(registration["required"]) == DOCUMENTED_KEYS
    assert registration["additionalProperties"] is False


def test_the_document_has_the_version_of_the_software() -> None:
    """The document and the package have the same version."""
    assert read_document()["info"]["version"] == VERSION


def test_every_operation_is_described() -> None:
    """It has an operation ID for generated clients, a summary, a description, and one tag with an explanation."""
    document = read_document()
    operations = [item[verb] for item in document["paths"].values() for verb in item.keys() & VERBS]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document["tags"]}
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags


def _with_another_key(envelope: dict[str, Any]) -> None:
    envelope["more"] = 1


def _without_a_key(envelope: dict[str, Any]) -> None:
    del envelope["revision"]


def _of_another_type(envelope: dict[str, Any]) -> None:
    envelope["data"][0]["contact_port"] = 5060


def _with_another_key_of_a_registration(envelope: dict[str, Any]) -> None:
    envelope["data"][0]["account_id"] = "child"


def _with_null(envelope: dict[str, Any]) -> None:
    envelope["data"][0]["presence_id"] = None


@pytest.mark.parametrize(
    "spoil",
    [_with_another_key, _without_a_key, _of_another_type, _with_another_key_of_a_registration, _with_null],
)
def test_a_reply_that_is_not_in_the_document_fails_a_test(
    start_api: StartApi, directory: Directory, add_binding: AddBinding, spoil: Callable[[dict[str, Any]], None]
) -> None:
    """The test client checks each reply, so that any test of a view notices a wrong one."""
    http = start_api()
    add_binding("bob", "child.test")
    headers, path = {"X-Auth-Token": directory.tokens["child"]}, "/v2/accounts/child/registrations"
    envelope = http.get(path, headers=headers).get_json()
    spoil(envelope)
    http.application.view_functions["registrations.list_all"] = lambda **_: _tagged(jsonify(envelope))
    with pytest.raises(FailureGroup):
        http.get(path, headers=headers)


def _tagged(response: Response) -> Response:
    response.set_etag("1")
    return response


def test_a_status_that_is_not_in_the_document_fails_a_test(start_api: StartApi, directory: Directory) -> None:
    """The same holds for a content type."""
    http = start_api()
    headers = {"X-Auth-Token": directory.tokens["child"]}
    path = "/v2/accounts/child/registrations/count"
    for reply in (
        Response("{}", status=409, content_type="application/json"),
        Response("0", content_type="text/html"),
    ):
        http.application.view_functions["registrations.count"] = lambda reply=reply, **_: reply
        with pytest.raises(FailureGroup):
            http.get(path, headers=headers)
