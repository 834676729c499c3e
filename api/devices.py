"""/v2/accounts/{ACCOUNT_ID}/devices: the directory's devices, and check-sync for one (Crossbar: cb_devices.erl).

A device is shown as far as the directory knows it, never with a password or a hash.
"""

import json
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any

from flask import Blueprint, Response

from api.actions.check_sync import send_check_sync
from api.envelope import list_envelope, success_envelope
from api.errors import BadIdentifier
from api.export import csv_response
from api.extensions import database, nodes, settings
from api.formats import wanted_format
from api.listing import START_KEY_OF_TEXT, Batch, ListQuery, Page, read_conditions, read_flag, read_query
from api.policy import Policy, follows
from sql.connections.database import Database
from sql.directory.devices import DEVICE_TYPES, Device, list_devices
from sql.registrations.contacts import find_device_contacts
from sql.registrations.model import list_registered_devices

# Crossbar's summary of a device has these; `sip` and the rest are in the device itself.
SUMMARY_TYPES = {
    key: kind
    for key, kind in DEVICE_TYPES.items()
    if key not in {"suppress_unregister_notify", "register_overwrite_notify"}
}
ORDERED_KEYS = tuple(sorted(SUMMARY_TYPES))
DEVICES_AT_A_TIME = 500

blueprint = Blueprint("devices", __name__)


def _summary(device: Device) -> dict[str, Any]:
    return {key: value for key, value in device.items() if key in SUMMARY_TYPES}


def _as_objects(some: Batch[Device]) -> str:
    return ",".join(json.dumps(_summary(device), separators=(",", ":")) for device in some.objects)


def _cells(device: Device) -> list[str]:
    values: dict[str, Any] = {**device}
    texts = (values.get(key, "") for key in ORDERED_KEYS)
    return [str(each).lower() if isinstance(each, bool) else each for each in texts]


def _rows(source: Database, account_id: str, query: ListQuery, *, whole: bool) -> Generator[Batch[Device], None, None]:
    """The rows of the list, and the one after a page; they hold a connection until they are used up or closed."""
    if query.conditions.nothing:
        return
    with (
        source.connection() as connection,
        closing(
            list_devices(
                connection,
                account_id,
                conditions=query.conditions.each,
                ascending=query.ascending,
                start=None if whole else query.start_text,
                limit=None if whole or query.page_size is None else query.page_size + 1,
            )
        ) as devices,
    ):
        while some := list(islice(devices, DEVICES_AT_A_TIME)):
            yield Batch([device["id"] for device in some], some)


@blueprint.get("")
@follows(Policy(has_csv=True))
def list_all(account_id: str) -> Response:
    """The devices of the account by their IDs, the last one first unless asked otherwise, all or a page."""
    query = read_query(
        default_page_size=settings().api_page_size,
        max_page_size=settings().api_max_page_size,
        types=SUMMARY_TYPES,
        start_keys=START_KEY_OF_TEXT,
    )
    as_csv = wanted_format() == "csv"
    rows = _rows(database(), account_id, query, whole=as_csv)
    if as_csv:
        cells = ([cell for device in some.objects for cell in _cells(device)] for some in rows)
        return csv_response(cells, keys=ORDERED_KEYS, name="devices")
    page = Page(rows, query.page_size, as_objects=_as_objects)
    return list_envelope(page, extra=lambda: page.keys_for(query))


@blueprint.get("/<device_id>")
def show(account_id: str, device_id: str) -> Response:
    """One device, with Crossbar's keys of a device's document."""
    if "\0" in device_id:
        raise BadIdentifier(device_id)
    with (
        database().connection() as connection,
        closing(list_devices(connection, account_id, device_id=device_id)) as devices,
    ):
        device = next(devices, None)
    if device is None:
        raise BadIdentifier(device_id)
    data: dict[str, Any] = {**device}
    data["sip"] = {"username": data.pop("username"), "realm": data.pop("realm")}
    data["suppress_unregister_notifications"] = data.pop("suppress_unregister_notify")
    return success_envelope(data)


@blueprint.get("/status")
def status(account_id: str) -> Response:
    """The devices of the account that have a binding, each once, in the order of their IDs."""
    with database().connection() as connection:
        device_ids = list_registered_devices(connection, account_id)
    return success_envelope([{"device_id": device_id, "registered": True} for device_id in device_ids])


@blueprint.post("/<device_id>/sync")
def sync(account_id: str, device_id: str) -> Response:
    """Have Kamailio send a NOTIFY check-sync to the phones of the device, or to those that the filters leave.

    202 also when there is no such phone just now.
    """
    reboot = read_flag("reboot", default=settings().api_sync_reboot)
    conditions = read_conditions()
    if "\0" in device_id:
        raise BadIdentifier(device_id)
    with database().connection() as connection:
        contacts = find_device_contacts(connection, account_id, device_id, conditions=conditions.each)
    if contacts is None:
        raise BadIdentifier(device_id)
    if conditions.nothing:
        contacts = []
    failed = send_check_sync(nodes(), contacts, reboot=reboot, budget=settings().api_flush_budget)
    response = success_envelope("sync request sent", sent=len(contacts) - failed, failed=failed)
    response.status_code = 202
    return response
