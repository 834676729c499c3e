"""/v2/accounts/{ACCOUNT_ID}/devices: which are registered, and check-sync for one (Crossbar: cb_devices.erl)."""

from flask import Blueprint, Response, current_app

from api.actions.check_sync import send_check_sync
from api.envelope import success_envelope
from api.errors import UnknownDevice
from api.extensions import database, nodes
from api.listing import read_flag
from sql.registrations.contacts import find_device_contacts
from sql.registrations.model import list_registered_devices

blueprint = Blueprint("devices", __name__)


@blueprint.get("/status")
def status(account_id: str) -> Response:
    """The devices of the account that have a binding, by their IDs; one that has several stands once."""
    with database().connection() as connection:
        device_ids = list_registered_devices(connection, account_id)
    return success_envelope([{"device_id": device_id, "registered": True} for device_id in device_ids])


@blueprint.post("/<device_id>/sync")
def sync(account_id: str, device_id: str) -> Response:
    """Have Kamailio send a NOTIFY check-sync to every phone of the device; 202 also when it has none just now."""
    reboot = read_flag("reboot", default=current_app.config["SYNC_REBOOT"])
    if "\0" in device_id:
        raise UnknownDevice(device_id)
    with database().connection() as connection:
        contacts = find_device_contacts(connection, account_id, device_id)
    if contacts is None:
        raise UnknownDevice(device_id)
    budget = current_app.config["FLUSH_BUDGET"]
    failed = send_check_sync(nodes(), contacts, reboot=reboot, budget=budget)
    response = success_envelope("sync request sent", sent=len(contacts) - failed, failed=failed)
    response.status_code = 202
    return response
