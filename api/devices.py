"""/v2/accounts/{ACCOUNT_ID}/devices/status: which devices are registered (Crossbar: cb_devices.erl)."""

from flask import Blueprint, Response

from api.envelope import success_envelope
from api.extensions import database
from sql.registrations import list_registered_devices

blueprint = Blueprint("devices", __name__)


@blueprint.get("/status")
def status(account_id: str) -> Response:
    """The devices of the account that have a binding, by their IDs; one that has several stands once."""
    with database().connection() as connection:
        device_ids = list_registered_devices(connection, account_id)
    return success_envelope([{"device_id": device_id, "registered": True} for device_id in device_ids])
