"""Who may do what. Every view is closed unless it is marked public.

A path with an account needs a token whose tree holds that account; any other path a superduper admin's, unless the
view is marked for any token. A restricted token does nothing but what its restrictions allow, wherever.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, request
from werkzeug.routing import Rule

from api.body import read_body
from api.errors import Forbidden, InvalidCredentials, UnknownAccount
from api.extensions import database
from sql.access.restrictions import allows
from sql.access.tokens import Access, check_access

View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Open a view to everybody."""
    view.is_public = True  # type: ignore[attr-defined]  # a mark, read below
    return view


def for_any_token(view: View) -> View:
    """Open a view without an account in its path to whoever has a token."""
    view.is_for_any_token = True  # type: ignore[attr-defined]  # a mark, read below
    return view


def counted(view: View) -> View:
    """Have the account's bindings counted with the check of the token, in one round trip: see `Access.count`."""
    view.is_counted = True  # type: ignore[attr-defined]  # a mark, read below
    return view


class Callers(StrEnum):
    """Who may call a view."""

    PUBLIC = "public"
    ANY_TOKEN = "any token"  # noqa: S105  # no password
    ACCOUNT = "own account or descendant"
    SUPERDUPER_ADMIN = "superduper admin"


def callers(app: Flask, rule: Rule) -> Callers:
    """Who may call the view of a rule; this is what the guard goes by."""
    view = app.view_functions[rule.endpoint]
    if getattr(view, "is_public", False):
        return Callers.PUBLIC
    is_own = "account_id" in (rule.defaults or {})  # the alias /v2/account
    if "account_id" in rule.arguments and not is_own:
        return Callers.ACCOUNT
    if is_own or getattr(view, "is_for_any_token", False):
        return Callers.ANY_TOKEN
    return Callers.SUPERDUPER_ADMIN


def current_access() -> Access:
    """Whom the token of this request stands for; views that are not public have one."""
    access: Access = g.access
    return access


def _note_token() -> None:
    # For the envelope of whatever answers the request; a token in the body joins it where the body is read.
    g.auth_token = request.headers.get("X-Auth-Token") or request.args.get("auth_token")


def _find_token() -> str:
    """The token in Crossbar's order: X-Auth-Token, query, body, Authorization: Bearer (RFC 6750)."""
    body_token = read_body().get("auth_token")
    # werkzeug's own reading of this header fails on what is not ASCII.
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return (
        g.auth_token
        or (body_token if isinstance(body_token, str) else None)
        or (credentials.strip() if scheme.lower() == "bearer" else "")
    )


def _guard() -> Response | None:
    if request.method == "OPTIONS" and request.url_rule is not None:
        response: Response = current_app.make_default_options_response()
        del response.headers["Content-Type"]  # of a body that there is none of
        return response
    if request.url_rule is None:
        return None  # Flask answers 404 or 405 itself
    who = callers(current_app, request.url_rule)
    if who is Callers.PUBLIC:
        return None
    g.auth_token = _find_token()
    if not g.auth_token:
        raise InvalidCredentials
    arguments = request.view_args or {}
    wanted = arguments.get("account_id", "")
    and_count = getattr(current_app.view_functions[request.url_rule.endpoint], "is_counted", False)
    with database().connection() as connection:
        # NUL is in no identifier, and PostgreSQL takes no text that has it.
        access = check_access(
            connection, g.auth_token, wanted_account=wanted.replace("\0", "\ufffd"), and_count=and_count
        )
    if access is None:
        raise InvalidCredentials
    g.access = access
    if access.restrictions is not None and not allows(
        access.restrictions, method=request.method, path=_path_below_version(access.account_id)
    ):
        raise Forbidden
    if "account_id" in arguments and not wanted:
        arguments["account_id"] = access.account_id  # the alias /v2/account of the token's own account
    elif access.superduper_admin or access.wanted_in_tree:
        if wanted and not access.wanted_exists:
            raise UnknownAccount(wanted)
    elif who is not Callers.ANY_TOKEN:
        raise Forbidden
    return None


def _path_below_version(own_account: str) -> str:
    """The path that restrictions speak of; the alias is the path it stands for, so that each thing has one name."""
    path = request.path.removeprefix("/v2/")
    return f"accounts/{own_account}/{path.removeprefix('account/')}" if path.startswith("account/") else path


def note_token(app: Flask) -> None:
    """Let the envelope have the token, whatever becomes of the request."""
    app.before_request(_note_token)


def init_app(app: Flask) -> None:
    """Guard every view."""
    app.before_request(_guard)
