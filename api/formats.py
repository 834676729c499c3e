"""Which format a client wants: JSON, or CSV where the endpoint has it (RFC 9110, 12.5.1)."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from flask import Flask, current_app, g, request
from werkzeug.datastructures import MIMEAccept

from api.errors import InvalidData, NotAcceptable

View = TypeVar("View", bound=Callable[..., Any])
Format = Literal["json", "csv"]
MEDIA_TYPES: dict[str, Format] = {"application/json": "json", "text/csv": "csv"}


def offers_csv(view: View) -> View:
    """Mark a view that answers CSV as well."""
    view.offers_csv = True  # type: ignore[attr-defined]  # a mark, read below
    return view


def has_own_type(view: View) -> View:
    """Mark a view that answers what it has, whatever the client wants, as a server of files does."""
    view.has_own_type = True  # type: ignore[attr-defined]  # a mark, read below
    return view


def wanted_format() -> Format:
    """The format of the answer to this request."""
    chosen: Format = g.format
    return chosen


def _negotiate() -> None:
    """``?accept=`` is Crossbar's way to say it in a link; it goes before the header. No wish is JSON."""
    g.format = "json"
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or getattr(view, "has_own_type", False):
        return
    has_csv = getattr(view, "offers_csv", False)
    offered = [media for media, name in MEDIA_TYPES.items() if name == "json" or has_csv]
    asked = request.args.get("accept")
    if asked is not None:
        if asked not in {*MEDIA_TYPES, *MEDIA_TYPES.values()}:
            raise InvalidData("accept", "enum", "Value is not json or csv")
        wanted = MEDIA_TYPES.get(asked, asked)
        if wanted == "csv" and not has_csv:
            raise NotAcceptable
        g.format = wanted
    elif request.accept_mimetypes:
        # Without parameters such as charset, which clients add and which change nothing here.
        plain = MIMEAccept((media.partition(";")[0].strip(), quality) for media, quality in request.accept_mimetypes)
        best = plain.best_match(offered)
        if best is None:
            raise NotAcceptable
        g.format = MEDIA_TYPES[best]


def init_app(app: Flask) -> None:
    """Settle the format before the view runs."""
    app.before_request(_negotiate)
