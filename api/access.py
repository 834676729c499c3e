"""Who may do what. Every view is closed unless its policy opens it.

A path with an account needs a token of that account or of one above it; any other path needs a superduper admin's
token, unless the view's policy says otherwise. A restricted token may do only what its restrictions allow, anywhere.
"""

from flask import Flask, Response, current_app, g, request
from werkzeug.routing import Rule

from api.body import read_body
from api.errors import BadIdentifier, Forbidden, InvalidCredentials
from api.extensions import database
from api.policy import Callers, current_policy, policy_of
from sql.access.restrictions import allows
from sql.access.tokens import Access, check_access


def callers(app: Flask, rule: Rule) -> Callers:
    """Who may call the view of a rule; the guard goes by this."""
    declared = policy_of(app.view_functions[rule.endpoint]).callers
    is_own = "account_id" in (rule.defaults or {})  # the alias /v2/account
    if declared is not None:
        return declared
    if is_own:
        return Callers.ANY_TOKEN
    return Callers.ACCOUNT if "account_id" in rule.arguments else Callers.SUPERDUPER_ADMIN


def current_access() -> Access:
    """The account that the request's token stands for; every view has one unless it is public."""
    access: Access = g.access
    return access


def note_token() -> None:
    """Note the token for the envelope, whatever answers the request. `guard` adds one that comes in the body."""
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


def guard() -> Response | None:
    """Let the request through to its view, or refuse it.

    Raises:
        InvalidCredentials: the view needs a token, and there is none, or it opens nothing.
        Forbidden: the token does not open this.
        BadIdentifier: there is no such account; a superduper admin asks.
    """
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
    with database().connection() as connection:
        access = check_access(
            connection,
            g.auth_token,
            wanted_account=wanted.replace("\0", "\ufffd"),  # PostgreSQL takes no NUL, and no identifier has one
            and_count=current_policy().counts,
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
            raise BadIdentifier(wanted)
    elif who is not Callers.ANY_TOKEN:
        raise Forbidden
    return None


def _path_below_version(own_account: str) -> str:
    """The path that restrictions are compared with; the alias /v2/account is replaced by what it stands for."""
    path = request.path.removeprefix("/v2/")
    return f"accounts/{own_account}/{path.removeprefix('account/')}" if path.startswith("account/") else path
