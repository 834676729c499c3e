"""How paths are read: segments are split before they are decoded (RFC 3986, 2.2), so a username may have a slash.

WSGI passes a decoded path, in which the slash of ``a%2Fb`` looks like any other. Servers pass the raw path as well.
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from werkzeug.routing import BaseConverter, Rule

# Stands for a slash inside a segment while the path is routed. Unicode will never assign this character.
INNER_SLASH = "\ufdd0"
_WSGI_INNER_SLASH = INNER_SLASH.encode().decode("latin-1")


class EncodedSlashes:
    """WSGI middleware that hides encoded slashes from the routing, if the server passes the raw path."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Pass the request on, unchanged if it has no encoded slash or its raw path has another form."""
        raw = environ.get("RAW_URI", "").partition("?")[0]
        # Unless another middleware or a mount has changed the path.
        if "%2f" in raw.lower() and _decoded(raw) == environ["PATH_INFO"]:
            parts = raw.replace("%2f", "%2F").split("%2F")
            environ["PATH_INFO"] = _WSGI_INNER_SLASH.join(_decoded(part) for part in parts)
        served: Iterable[bytes] = self._app(environ, start_response)
        return served


def _decoded(raw: str) -> str:
    return unquote_to_bytes(raw).decode("latin-1")


class SegmentConverter(BaseConverter):
    """One segment of a path."""

    def to_python(self, value: str) -> str:
        """Give the segment as the client meant it."""
        return value.replace(INNER_SLASH, "/")


class UsernameConverter(SegmentConverter):
    """A SIP username; ``count`` is an endpoint of its own, and any other method of it is 405."""

    regex = r"(?!count$)[^/]+"
    part_isolating = True


def template(rule: Rule) -> str:
    """A rule for people, and for OpenAPI: its parts in braces."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def shown(path: str) -> str:
    """A routed path for people, with its encoded slashes."""
    return path.replace(INNER_SLASH, "%2F")


def init_app(app: Flask) -> None:
    """Have every rule read its segments like this; the slashes need `EncodedSlashes` around the application."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["default"] = SegmentConverter
    app.url_map.converters["username"] = UsernameConverter
