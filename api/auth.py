"""/v2/api_auth makes a token for an API key; /v2/token_auth shows and revokes the token in use.

Crossbar: cb_api_auth.erl, cb_token_auth.erl.
"""

from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, g

from api.access import current_access
from api.body import read_data
from api.envelope import success_envelope
from api.errors import InvalidCredentials, InvalidData
from api.extensions import database, settings
from api.policy import Callers, Policy, follows
from sql.access.restrictions import BadRestrictions, Restrictions, read_restrictions
from sql.access.tokens import create_token_by_api_key, find_standing, give_token_back
from sql.connections.database import Connection

# Kazoo's default. This API knows no other language.
LANGUAGE = "en-us"
# Requests of the rate limit that an attempt costs (Crossbar: api_auth_tokens).
API_AUTH_COST = 35

blueprint = Blueprint("auth", __name__, url_prefix="/v2")


@blueprint.put("/api_auth")
@follows(Policy(callers=Callers.PUBLIC, cost=API_AUTH_COST))
def create() -> Response:
    """Make a token for the account of an API key. A token in the request is ignored."""
    data = read_data()
    api_key, restrictions = data.get("api_key"), _read_restrictions(data.get("restrictions"))
    if not isinstance(api_key, str | None):
        raise InvalidData("api_key", "type", "must be a string")
    if not api_key:
        raise InvalidCredentials
    with database().connection() as connection:
        created = create_token_by_api_key(
            connection,
            api_key,
            idle_lifetime=timedelta(seconds=settings().api_token_idle_lifetime),
            restrictions=restrictions,
        )
        if created is None:
            raise InvalidCredentials
        account_id, g.auth_token = created
        response = success_envelope(_as_data(connection, account_id))
    response.status_code = 201
    return response


@blueprint.get("/token_auth")
@follows(Policy(callers=Callers.ANY_TOKEN))
def show() -> Response:
    """The account of the token in use, and the token's restrictions if it has any."""
    access = current_access()
    with database().connection() as connection:
        data = _as_data(connection, access.account_id)
    if access.restrictions is not None:
        data["restrictions"] = access.restrictions
    return success_envelope(data)


@blueprint.delete("/token_auth")
@follows(Policy(callers=Callers.ANY_TOKEN))
def revoke() -> Response:
    """Revoke the token in use. As in Kazoo, the answer has no data and no longer holds the token."""
    with database().connection() as connection:
        give_token_back(connection, g.pop("auth_token"))
    return success_envelope({})


def _read_restrictions(given: Any) -> Restrictions | None:
    try:
        return None if given is None else read_restrictions(given)
    except BadRestrictions as error:
        raise InvalidData("restrictions", error.rule, str(error)) from error


def _as_data(connection: Connection, account_id: str) -> dict[str, Any]:
    """Crossbar's answer to every kind of authentication (crossbar_util:response_auth).

    A key belongs to an account, not to a user, so there is no owner. There is no store of apps either.
    """
    standing = find_standing(connection, account_id)
    if standing is None:
        raise InvalidCredentials  # the account was deleted between two statements, and the token with it
    return {
        "account_id": standing.account_id,
        "account_name": standing.account_name,
        "apps": [],
        "is_reseller": standing.is_reseller,
        "language": LANGUAGE,
        "owner_id": "",
        "reseller_id": standing.reseller_id,
    }
