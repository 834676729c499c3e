"""/v2/openapi.json serves the contract in openapi.yaml, and /v2/docs shows it in a browser.

The page is Swagger UI from the package flask-swagger-ui, with an index and a script of our own. The index holds no
script itself, so that the browser can be told to run and load nothing from elsewhere.
"""

from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import yaml
from flask import Blueprint, Response, json, request, send_from_directory

from api.policy import OPEN, follows

# Where the file keeps its anchors. The YAML reader has copied them to where they are used.
SHARED = "x-shared"
SWAGGER_UI = str(files("flask_swagger_ui") / "dist")
INDEX = "index.html"
PAGE = str(files("api") / "page")
# Swagger UI's style sheet holds its icons as data, and its elements have style attributes.
SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("document", __name__, url_prefix="/v2")


def read_document() -> dict[str, Any]:
    """The OpenAPI document (3.1), without the part that only its authors need."""
    text = (files("api") / "openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    del document[SHARED]
    for item in document["paths"].values():
        common = item.pop("parameters", [])  # Swagger UI follows references in an operation only
        for operation in item.values():
            operation["parameters"] = common + operation.get("parameters", [])
            # The page shows them in this order.
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return document


@cache
def _as_json() -> tuple[bytes, str]:
    # Indented for readers who use curl.
    body = json.dumps(read_document(), indent=1, sort_keys=False).encode() + b"\n"
    return body, sha256(body).hexdigest()[:32]


@blueprint.get("/openapi.json")
@follows(OPEN)
def show() -> Response:
    """The document; it only changes with the software."""
    body, tag = _as_json()
    response = Response(body, content_type="application/json")
    response.set_etag(tag)
    response.headers["Cache-Control"] = "public, no-cache"
    response.make_conditional(request)
    return response


@blueprint.get("/docs")
@blueprint.get("/docs/<name>")
@follows(replace(OPEN, has_own_type=True))
def page(name: str = INDEX) -> Response:
    """A file of the page: ours where there are two, since Swagger UI has an index, too."""
    if name == INDEX and not request.path.endswith("/"):
        return Response(status=308, headers={"Location": "docs/"})  # its links are relative
    ours = name in {INDEX, "show.js"}
    response = send_from_directory(PAGE if ours else SWAGGER_UI, name, max_age=None)
    response.headers["Content-Security-Policy"] = SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
