"""The body of a request: Crossbar's envelope, a JSON object with ``data`` and what could also be in headers."""

from typing import Any

from flask import json, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import InvalidData, ParseError
from api.extensions import settings

BODYLESS_METHODS = {"GET", "HEAD", "OPTIONS"}


def _read() -> bytes:
    body = request.get_data()
    if len(body) > settings().api_max_body:
        raise RequestEntityTooLarge
    return body


def _parse() -> Any:
    try:
        return json.loads(_read())
    except (ValueError, RecursionError):
        raise ParseError from None


def read_body() -> dict[str, Any]:
    """The envelope; empty if there is none. Clients also send the Content-Type of JSON without a body.

    Raises:
        ParseError: the body is not JSON.
    """
    if request.environ["REQUEST_METHOD"] in BODYLESS_METHODS or not _read():
        return {}
    body = _parse()
    return body if isinstance(body, dict) else {}


def read_data() -> dict[str, Any]:
    """The object in the envelope's ``data``, for a view that needs an envelope; empty if it has no ``data``.

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
