"""/v2/accounts/{ACCOUNT_ID}/devices: which are registered, and check-sync for one (Crossbar: cb_devices.erl)."""

import logging
from collections.abc import Sequence

from flask import Blueprint, Response, current_app, request

from api.envelope import success_envelope
from api.errors import InvalidData, UnknownDevice
from api.extensions import database, proxy
from kamailio.notify import Target, check_sync
from sql.contacts import DeviceContact, find_device_contacts
from sql.registrations import list_registered_devices

YES_OR_NO = {"true": True, "false": False}

blueprint = Blueprint("devices", __name__)
log = logging.getLogger(__name__)


@blueprint.get("/status")
def status(account_id: str) -> Response:
    """The devices of the account that have a binding, by their IDs; one that has several stands once."""
    with database().connection() as connection:
        device_ids = list_registered_devices(connection, account_id)
    return success_envelope([{"device_id": device_id, "registered": True} for device_id in device_ids])


@blueprint.post("/<device_id>/sync")
def sync(account_id: str, device_id: str) -> Response:
    """Have Kamailio send a NOTIFY check-sync to every phone of the device; 202 also when it has none just now."""
    reboot = _reboot_wanted()
    if "\0" in device_id:
        raise UnknownDevice(device_id)
    with database().connection() as connection:
        contacts = find_device_contacts(connection, account_id, device_id)
    if contacts is None:
        raise UnknownDevice(device_id)
    failed = _send_check_sync(device_id, contacts, reboot=reboot)
    response = success_envelope("sync request sent", sent=len(contacts) - failed, failed=failed)
    response.status_code = 202
    return response


def _reboot_wanted() -> bool:
    given = request.args.get("reboot")
    if given is None:
        return bool(current_app.config["SYNC_REBOOT"])
    if given.lower() not in YES_OR_NO:
        raise InvalidData("reboot", "type", "neither true nor false")
    return YES_OR_NO[given.lower()]


def _send_check_sync(device_id: str, contacts: Sequence[DeviceContact], *, reboot: bool) -> int:
    """How many of the contacts could not be sent to; the log says why."""
    if not contacts:
        return 0
    targets = [
        Target(
            username=each.username,
            domain=each.domain,
            contact=each.contact,
            received=each.received,
            path=each.path,
            socket=each.socket,
        )
        for each in contacts
    ]
    with proxy().connect() as client:
        outcomes = check_sync(client, targets, reboot=reboot, budget=proxy().budget)
    errors = [error for error in outcomes if error is not None]
    for error in errors:
        facts = {"device_id": device_id, "cause": str(error)}
        log.warning("check-sync not sent to a contact", extra={"action": "sync", **facts})
    return len(errors)
