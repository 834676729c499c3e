"""/v2/accounts/{ACCOUNT_ID}/registrations: list, count and flush (Crossbar: cb_registrations.erl)."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response

from api.envelope import success_envelope
from api.errors import UnknownUsername
from api.extensions import database, proxy
from api.flush import flush
from sql.flushing import find_bindings, find_device_aors
from sql.registrations import Registration, count_registrations, list_registrations

# Kazoo's undocumented extras are left out when not known, never null.
EXTRAS = frozenset({"presence_id", "proxy_path", "proxy_protocol", "registrar_hostname", "registrar_node"})
EXTRAS |= {"source_ip", "source_port"}

blueprint = Blueprint("registrations", __name__)


def _as_object(registration: Registration) -> dict[str, Any]:
    fields = asdict(registration)
    return {key: value for key, value in fields.items() if value is not None or key not in EXTRAS}


@blueprint.get("")
def list_all(account_id: str) -> Response:
    """Every binding of the account that is registered now, newest first."""
    with database().connection() as connection:
        registrations = list_registrations(connection, account_id)
    return success_envelope([_as_object(registration) for registration in registrations])


@blueprint.get("/count")
def count(account_id: str) -> Response:
    """How many bindings the list has."""
    with database().connection() as connection:
        return success_envelope({"count": count_registrations(connection, account_id)})


@blueprint.delete("")
def flush_all(account_id: str) -> Response:
    """Remove every binding of the account from Kamailio; phones come back at their next refresh."""
    with database().connection() as connection:
        bindings = find_bindings(connection, account_id)
    flush(proxy(), database(), bindings=bindings)
    return success_envelope("ok", flushed=len(bindings), pending=0)


@blueprint.delete("/<username:username>")
def flush_one(account_id: str, username: str) -> Response:
    """Remove every binding of one SIP username, in any case, from Kamailio."""
    if "\0" in username:
        raise UnknownUsername(username)
    with database().connection() as connection:
        bindings = find_bindings(connection, account_id, username)
        devices = find_device_aors(connection, account_id, username)
    if not bindings and not devices:
        raise UnknownUsername(username)
    flush(proxy(), database(), bindings=bindings, devices=devices)
    return success_envelope("ok", flushed=len(bindings), pending=0)
