"""Who may do what. Every view is closed unless it is marked public.

A path with an account needs a token whose tree holds that account; any other path a superduper admin's.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, json, request

from api.errors import Forbidden, InvalidCredentials, ParseError, UnknownAccount
from api.extensions import database
from sql.tokens import check_access

View = TypeVar("View", bound=Callable[..., Any])
BODYLESS_METHODS = {"GET", "HEAD", "OPTIONS"}


def public(view: View) -> View:
    """Open a view to everybody."""
    view.is_public = True  # type: ignore[attr-defined]  # a mark, read below
    return view


def _read_body() -> dict[str, Any]:
    """The JSON body; ``{}`` where there is none. Clients send a Content-Type for JSON without a body, too."""
    if request.method in BODYLESS_METHODS or not request.get_data():
        return {}
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise ParseError from None
    return body if isinstance(body, dict) else {}


def _token_beside_the_body() -> str | None:
    return request.headers.get("X-Auth-Token") or request.args.get("auth_token")


def _find_token() -> str:
    """The token in Crossbar's order: X-Auth-Token, query, body, Authorization: Bearer (RFC 6750)."""
    given = _token_beside_the_body()
    body_token = _read_body().get("auth_token")
    bearer = request.authorization
    return (
        given
        or (body_token if isinstance(body_token, str) else None)
        or (bearer.token if bearer is not None and bearer.type == "bearer" else None)
        or ""
    )


def _guard() -> Response | None:
    g.auth_token = _token_beside_the_body()  # stands in every answer, in failures too
    if request.method == "OPTIONS" and request.url_rule is not None:
        response: Response = current_app.make_default_options_response()
        del response.headers["Content-Type"]  # of a body that there is none of
        return response
    if request.url_rule is None:
        return None  # Flask answers 404 or 405 itself
    view = current_app.view_functions[request.endpoint or ""]
    if getattr(view, "is_public", False):
        return None
    g.auth_token = _find_token()
    if not g.auth_token:
        raise InvalidCredentials
    arguments = request.view_args or {}
    wanted = arguments.get("account_id", "")
    with database().connection() as connection:
        # NUL is in no identifier, and PostgreSQL takes no text that has it.
        access = check_access(connection, g.auth_token, wanted_account=wanted.replace("\0", "\ufffd"))
    if access is None:
        raise InvalidCredentials
    if "account_id" in arguments and not wanted:
        arguments["account_id"] = access.account_id  # the alias /v2/account of the token's own account
    elif not access.superduper_admin and not access.wanted_in_tree:
        raise Forbidden
    elif wanted and not access.wanted_exists:
        raise UnknownAccount(wanted)
    return None


def init_app(app: Flask) -> None:
    """Guard every view."""
    app.before_request(_guard)
