"""Crossbar's envelope around every answer, and the request's ID."""

import hashlib
import logging
import re
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from flask import Flask, Response, current_app, g, json, jsonify, request

log = logging.getLogger(__name__)

VERSION = version("kamailio-registrations")
# A client's own request ID is taken over when it can stand in a header and in a log line as it is.
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def _take_request_id() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _send_request_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    # Without the query, which may hold a token.
    facts = {"method": request.method, "path": request.path, "status": response.status_code}
    log.info("request answered", extra={"action": "request", "request_id": g.request_id, **facts})
    return response


def _common() -> dict[str, Any]:
    envelope = {
        "node": current_app.config["NODE"],
        "request_id": g.request_id,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": VERSION,
    }
    if token := g.get("auth_token"):
        envelope["auth_token"] = token
    return envelope


def success_envelope(data: Any, **extra: Any) -> Response:
    """Wrap data; equal data gives an equal ``revision``, which is also the entity tag (RFC 9110, 8.8.3).

    Args:
        data: anything that JSON can carry.
        extra: further keys of the envelope.
    """
    revision = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]
    envelope = {"data": data, "revision": revision, "status": "success", **_common(), **extra}
    response = jsonify(envelope)
    if request.method in {"GET", "HEAD"}:
        response.set_etag(revision)
        response.make_conditional(request)
    return response


def error_envelope(*, status: int, message: str, data: Any) -> Response:
    """Wrap a failure; ``error`` is the status as a string, as clients of Crossbar read it."""
    envelope = {"data": data, "error": str(status), "message": message, "status": "error", **_common()}
    response = jsonify(envelope)
    response.status_code = status
    return response


def init_app(app: Flask, *, node: str) -> None:
    """Give every request an ID and every answer the envelope's common keys."""
    app.config["NODE"] = node
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # of Flask's default provider
    app.before_request(_take_request_id)
    app.after_request(_send_request_id)
