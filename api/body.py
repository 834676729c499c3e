"""The body of a request: Crossbar's envelope, a JSON object with ``data`` and what else would stand in headers."""

from typing import Any

from flask import json, request

from api.errors import InvalidData, ParseError

BODYLESS_METHODS = {"GET", "HEAD", "OPTIONS"}


def _parse() -> Any:
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise ParseError from None


def read_body() -> dict[str, Any]:
    """The envelope; empty where there is none. Clients send a Content-Type for JSON without a body, too.

    Raises:
        ParseError: the body is not JSON.
    """
    if request.environ["REQUEST_METHOD"] in BODYLESS_METHODS or not request.get_data():
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
