"""Crossbar's envelope around every response, and the request's ID."""

import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from json import JSONDecoder
from typing import Any

from flask import Response, g, json, request

from api.extensions import settings
from api.paths import shown
from api.spool import respond
from sql.console.logs import request_id as current_request_id

log = logging.getLogger(__name__)

REVISION_LENGTH = 32
DECODER = JSONDecoder()
VERSION = version("kamailio-registrations")
# A client's own request ID is kept if it is safe in a header and in a log line.
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def name_request() -> None:
    """Give the request its ID."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    current_request_id.set(g.request_id)


def forget_request(_error: BaseException | None) -> None:
    """Keep the request's ID out of what the thread logs later."""
    current_request_id.set(None)


def send_request_id(response: Response) -> Response:
    """Add the headers of every response."""
    response.headers["X-Request-ID"] = g.request_id
    # The body has personal data and the token. A cache must not give it to another client, and would look at the header
    # Authorization only (RFC 9111).
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.vary.update(("Accept", "Authorization", "X-Auth-Token", "X-Pretty-Print"))
    return response


def finish(response: Response) -> Response:
    """Complete the headers and log the request."""
    send_request_id(response)
    # Without the query, which may contain a token.
    facts = {"method": request.method, "path": shown(request.path), "status": response.status_code}
    log.info("request answered", extra={"action": "request", "request_id": g.request_id, **facts})
    return response


def _common() -> dict[str, Any]:
    envelope = {
        "node": settings().api_node,
        "request_id": g.request_id,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": VERSION,
    }
    if token := g.get("auth_token"):
        envelope["auth_token"] = token
    return envelope


def wants_pretty() -> bool:
    """Whether the client asked for indented JSON, by Crossbar's header or parameter."""
    asked = request.headers.get("X-Pretty-Print") or request.args.get("pretty_print") or ""
    return asked.lower() in {"true", "1"}


def _dumps(value: Any, *, pretty: bool) -> str:
    return json.dumps(value, indent=2) if pretty else json.dumps(value, separators=(",", ":"))


def _respond(envelope: dict[str, Any], status: int) -> Response:
    return Response(_dumps(envelope, pretty=wants_pretty()) + "\n", status=status, content_type="application/json")


def _tagged(response: Response, revision: str) -> Response:
    if request.method in {"GET", "HEAD"}:
        tag = revision + ("-pretty" if wants_pretty() else "")
        response.set_etag(tag)
        # Not make_conditional: it heeds If-Match as well, and no client of Crossbar knows its 412.
        if request.if_none_match.contains_weak(tag):
            response.status_code = 304
    return response


def success_envelope(data: Any, **extra: Any) -> Response:
    """Wrap data. Equal data has an equal ``revision``, which is also the entity tag (RFC 9110, 8.8.3).

    Args:
        data: anything that JSON can carry.
        extra: more keys of the envelope.
    """
    revision = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:REVISION_LENGTH]
    envelope = {"data": data, "revision": revision, "status": "success", **_common(), **extra}
    return _tagged(_respond(envelope, 200), revision)


def _one_by_one(objects: str) -> Iterator[Any]:
    at = 0
    while at < len(objects):
        each, end = DECODER.raw_decode(objects, at)
        yield each
        at = end + len(",")


def list_envelope(objects: Iterable[str], *, extra: Callable[[], dict[str, Any]] = dict) -> Response:
    """Wrap a list of any length, in constant memory.

    The envelope has the revision at its end. A list that is sent while it is read has no ``ETag`` header, as the
    headers go first. A client may send the revision with If-None-Match all the same: then the list is read before the
    response starts, and is answered 304 if it did not change.

    Args:
        objects: compact JSON of some objects at a time, with commas between them. The response reads them to the end;
            a generator is closed.
        extra: called at the end of the objects; more keys of the envelope.
    """
    common, pretty = _common(), wants_pretty()
    ends: dict[str, str] = {}

    def pieces() -> Generator[bytes, None, None]:
        left, digest = iter(objects), hashlib.sha256()
        try:
            yield b'{"data":['
            separator = b""
            for some in left:
                compact = some.encode()
                digest.update(compact + b",")
                if pretty:
                    for each in _one_by_one(some):
                        yield separator + _dumps(each, pretty=True).encode()
                        separator = b","
                else:
                    yield separator + compact
                separator = b","
        finally:
            if isinstance(left, Generator):
                left.close()
        ends["revision"] = digest.hexdigest()[:REVISION_LENGTH]
        more = extra()
        # The same rows with another next page are another answer. The number of rows follows from the rows.
        ends["position"] = "".join(f"-{name}.{value}" for name, value in sorted(more.items()) if name != "page_size")
        rest = {"revision": ends["revision"], "status": "success", **common, **more}
        yield ("]," + _dumps(rest, pretty=pretty).removeprefix("{").lstrip() + "\n").encode()

    response, whole = respond(pieces(), content_type="application/json")
    return _tagged(response, ends["revision"] + ends["position"]) if whole else response


def error_envelope(*, status: int, message: str, data: Any) -> Response:
    """Wrap an error; ``error`` is the status as a string, as clients of Crossbar read it."""
    envelope = {"data": data, "error": str(status), "message": message, "status": "error", **_common()}
    return _respond(envelope, status)
