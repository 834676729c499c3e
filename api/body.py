"""The body of a request: Crossbar's envelope, a JSON object with ``data`` and what else would stand in headers."""

from typing import Any

from flask import Flask, current_app, json, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import InvalidData, ParseError

BODYLESS_METHODS = {"GET", "HEAD", "OPTIONS"}


def init_app(app: Flask, *, max_bytes: int) -> None:
    """Read no larger body than this; a chunked one is cut off by werkzeug after one byte more, without a word."""
    app.config["MAX_BODY"] = max_bytes
    app.config["MAX_CONTENT_LENGTH"] = max_bytes + 1


def _read() -> bytes:
    body = request.get_data()
    if len(body) > current_app.config["MAX_BODY"]:
        raise RequestEntityTooLarge
    return body


def _parse() -> Any:
    try:
        return json.loads(_read())
    except (ValueError, RecursionError):
        raise ParseError from None


def read_body() -> dict[str, Any]:
    """The envelope; empty where there is none. Clients send a Content-Type for JSON without a body, too.

    Raises:
        ParseError: the body is not JSON.
    """
    if request.environ["REQUEST_METHOD"] in BODYLESS_METHODS or not _read():
        return {}
    body = _parse()
    return body if isinstance(body, dict) else {}


def read_data() -> dict[str, Any]:
    """The object in the envelope's ``data``, for a view that needs one; empty where the envelope has none.

    Raises:
        ParseError: there is no envelope.
        InvalidData: ``data`` is not an object.
    """
    body = _parse()
    if not isinstance(body, dict):
        raise ParseError
    data = body.get("data")
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidData("data", "type", "must be an object")
    return data
