"""For clients that cannot choose every method or header: ``verb`` and ``accept`` in the query or the envelope.

The rules are Crossbar's (basics.md). ``verb`` turns a POST into a GET, PUT, PATCH or DELETE. Other methods ignore it: a
link or an image in a web page can make a browser send a GET, and that must never delete. ``accept`` replaces the header
Accept of any request; ``csv`` and ``json`` are short for their types. The query goes before the envelope.
"""

from flask import current_app, request
from werkzeug.exceptions import HTTPException

from api.body import read_body
from api.errors import ParseError

VERBS = {"DELETE", "GET", "PATCH", "PUT"}
NO_VERB = "-"  # no path has this method
SHORT_TYPES = {"csv": "text/csv", "json": "application/json"}


def _said(name: str) -> str | None:
    """The value of the query or the envelope. A body that is not JSON is ignored here; the view refuses it."""
    if name in request.args:
        return request.args[name]
    try:
        said = read_body().get(name)
    except ParseError:
        return None
    return None if said is None else str(said)


def take_verb() -> None:
    """Route the request again with the method that ``verb`` names."""
    verb = (_said("verb") or "").upper() if request.method == "POST" else ""
    if verb in {"", "POST"}:
        return
    routes = current_app.create_url_adapter(request)
    assert routes is not None  # noqa: S101  # every request has one
    try:
        request.url_rule, arguments = routes.match(method=verb if verb in VERBS else NO_VERB, return_rule=True)
    except HTTPException as error:
        request.url_rule, request.view_args, request.routing_exception = None, None, error
    else:
        request.method, request.view_args, request.routing_exception = verb, dict(arguments), None


def take_accept() -> None:
    """Let what the client says in the query or the body stand for the header Accept."""
    accept = _said("accept")
    if accept:
        request.environ["HTTP_ACCEPT"] = SHORT_TYPES.get(accept.lower(), accept)
