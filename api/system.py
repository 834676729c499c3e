"""/v2/registrations: the whole system, for superduper admins (Crossbar: cb_registrations.erl)."""

from flask import Blueprint, Response

from api.envelope import success_envelope
from api.extensions import database
from sql.registrations.model import count_registrations

blueprint = Blueprint("system", __name__, url_prefix="/v2/registrations")


@blueprint.get("/count")
def count() -> Response:
    """How many bindings there are, with and without an account."""
    with database().connection() as connection:
        return success_envelope({"count": count_registrations(connection)})
