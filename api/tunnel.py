"""Clients that cannot choose every method or header say in the query or the envelope what they mean.

The rules are Crossbar's (basics.md). ``verb`` makes a POST a GET, PUT, PATCH or DELETE. It is heard in a POST only: a
link or an image in a web page can make a browser send a GET, and that must never delete. ``accept`` stands for the
header Accept, of any method; ``csv`` and ``json`` are short for their types. The query is looked at first.
"""

from flask import Flask, current_app, request
from werkzeug.exceptions import HTTPException

from api.body import read_body
from api.errors import ParseError

VERBS = {"DELETE", "GET", "PATCH", "PUT"}
NO_VERB = "-"  # no path has it
SHORT_TYPES = {"csv": "text/csv", "json": "application/json"}


def _said(name: str) -> str | None:
    """What the client says of this; a body that is no JSON is for those to refuse who need it."""
    if name in request.args:
        return request.args[name]
    try:
        said = read_body().get(name)
    except ParseError:
        return None
    return None if said is None else str(said)


def _take_verb() -> None:
    """Route the request anew, as if it had come with the verb that it names."""
    verb = (_said("verb") or "").upper() if request.method == "POST" else ""
    if verb in {"", "POST"}:
        return
    routes = current_app.create_url_adapter(request)
    assert routes is not None  # noqa: S101  # there is one wherever there is a request
    try:
        request.url_rule, arguments = routes.match(method=verb if verb in VERBS else NO_VERB, return_rule=True)
    except HTTPException as error:
        request.url_rule, request.view_args, request.routing_exception = None, None, error
    else:
        request.method, request.view_args, request.routing_exception = verb, dict(arguments), None


def _take_accept() -> None:
    accept = _said("accept")
    if accept:
        request.environ["HTTP_ACCEPT"] = SHORT_TYPES.get(accept.lower(), accept)


def init_app(app: Flask) -> None:
    """Take the two in, before anything looks at the method, the view or the header."""
    app.before_request(_take_verb)
    app.before_request(_take_accept)
