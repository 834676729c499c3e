"""/v2/openapi.json: the contract in openapi.yaml, as it stands beside this module. /v2/docs shows it in a browser.

The page is Swagger UI, whose files the package flask-swagger-ui carries, with a page and a script of our own in front:
so no script stands in the page itself, and the browser can be told to load nothing from anywhere else.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import yaml
from flask import Blueprint, Response, json, request, send_from_directory

from api.access import public
from api.formats import has_own_type
from api.rate_limit import costs

# What the anchors in the file are for; every use of them is a copy by now.
SHARED = "x-shared"
SWAGGER_UI = str(files("flask_swagger_ui") / "dist")
INDEX = "index.html"
PAGE = str(files("api") / "page")
# Swagger UI has its icons as data in its style sheet, and styles elements by their attributes.
SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("document", __name__, url_prefix="/v2")


def read_document() -> dict[str, Any]:
    """The OpenAPI document (3.1), without what is only for those who write it."""
    text = (files("api") / "openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    del document[SHARED]
    for item in document["paths"].values():
        common = item.pop("parameters", [])  # of every verb; Swagger UI follows references in an operation only
        for operation in item.values():
            operation["parameters"] = common + operation.get("parameters", [])
            # Merged from shared ones; the page shows them in this order.
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return document


@cache
def _as_json() -> tuple[bytes, str]:
    # Indented for whoever looks at it by curl; in the order of the file.
    body = json.dumps(read_document(), indent=1, sort_keys=False).encode() + b"\n"
    return body, sha256(body).hexdigest()[:32]


@blueprint.get("/openapi.json")
@public
@costs(0)
def show() -> Response:
    """The document; it changes with the software only."""
    body, tag = _as_json()
    response = Response(body, content_type="application/json")
    response.set_etag(tag)
    response.headers["Cache-Control"] = "public, no-cache"
    response.make_conditional(request)
    return response


@blueprint.get("/docs")
@blueprint.get("/docs/<name>")
@public
@costs(0)
@has_own_type
def page(name: str = INDEX) -> Response:
    """A file of the page; ours go before those of Swagger UI, which has an index of its own."""
    if name == INDEX and not request.path.endswith("/"):
        return Response(status=308, headers={"Location": "docs/"})  # the page names its files relative to itself
    ours = name in {INDEX, "show.js"}
    response = send_from_directory(PAGE if ours else SWAGGER_UI, name, max_age=None)
    response.headers["Content-Security-Policy"] = SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
