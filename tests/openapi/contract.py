"""The test client checks every reply against the OpenAPI document, so that every API test checks the contract too."""

from __future__ import annotations

import gzip
import re
from contextvars import ContextVar
from functools import cache
from typing import Any

import requests
import schemathesis
from flask import Flask, Response, request, request_finished
from flask.testing import FlaskClient
from schemathesis.checks import load_all_checks
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

import tests.openapi.hooks  # noqa: F401  # so that CSV is checked
from api.document import read_document

ALIAS, NAMED = "/v2/account/", "/v2/accounts/{account_id}/"
# The page that shows the document is for people, so the document leaves it out.
PAGE = "/v2/docs"
# Answers to a request without operation, which the document describes only in words.
NOWHERE = "/no-operation"
UNKNOWN_PATH = {
    "description": "No endpoint has this path.",
    "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}},
    "content": {
        "application/json": {
            "schema": {
                "allOf": [
                    {"$ref": "#/components/schemas/Failure"},
                    {
                        "properties": {
                            "error": {"const": "404"},
                            "message": {"const": "faulty_request"},
                            "data": {"$ref": "#/components/schemas/Message"},
                        }
                    },
                ]
            }
        }
    },
}
NOWHERE_RESPONSES = {
    "404": UNKNOWN_PATH,
    "405": {"$ref": "#/components/responses/InvalidMethod"},
    "413": {"$ref": "#/components/responses/RequestTooLarge"},
}

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# The rule and the method of this thread's or task's last request, as its view saw them.
_seen: ContextVar[tuple[Rule | None, str] | None] = ContextVar("_seen", default=None)


def documented_path(rule: str) -> str:
    """Return the document's path for a rule of Flask. For the alias that is the path that it stands for."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
    return NAMED + path.removeprefix(ALIAS) if path.startswith(ALIAS) else path


@cache
def contract() -> OpenApiSchema:
    """Return the document, with one more operation for replies to requests that have none."""
    load_all_checks()
    document = read_document()
    document["paths"][NOWHERE] = {"get": {"responses": NOWHERE_RESPONSES}}
    return schemathesis.openapi.from_dict(document)


@cache
def _operation(path: str, method: str) -> APIOperation[Any, Any, Any, Any]:
    operation: APIOperation[Any, Any, Any, Any] = contract()[path][method]
    return operation


def check_reply(rule: Rule | None, method: str, response: TestResponse) -> None:
    """Fail unless the document allows this status, its headers, content type and body for the operation."""
    if method == "OPTIONS" or (rule is not None and rule.rule.startswith(PAGE)):
        return
    if rule is None:
        operation = _operation(NOWHERE, "GET")
    else:
        operation = _operation(documented_path(rule.rule), "GET" if method == "HEAD" else method)
    checks = [check for check in CHECKS if method != "HEAD" or check is not response_schema_conformance]
    # The parameters do not matter here.
    names = re.findall(r"{(\w+)}", operation.path)
    case = operation.Case(path_parameters=dict.fromkeys(names, "any"))
    case.validate_response(_as_schemathesis(response), checks=checks)


def _as_schemathesis(response: TestResponse) -> schemathesis.Response:
    """Convert the reply only: schemathesis would also make up a request, which cannot have every header of a test."""
    content = response.get_data()
    if content and response.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return schemathesis.Response(
        status_code=response.status_code,
        headers={name: response.headers.getlist(name) for name in response.headers.keys()},  # noqa: SIM118  # no dict
        content=content,
        request=requests.Request("GET", "http://localhost/").prepare(),
        elapsed=0.0,
        verify=False,
        message=response.status,
        encoding="utf-8",
        http_version="1.1",
    )


def _note(sender: Flask, response: Response) -> None:
    _seen.set((request.url_rule, request.method))


class ContractClient(FlaskClient):
    """Flask's test client. A reply that is not in the document fails the test."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request and check its reply."""
        request_finished.connect(_note, sender=self.application)  # never undone: other threads may send requests too
        response = super().open(*args, **kwargs)
        seen = _seen.get()
        assert seen is not None
        check_reply(*seen, response)
        return response
