"""Turns Kazoo's documents into rows of the three CSV files that an import takes.

The files have no column superduper_admin: Kazoo cannot grant rights in our API.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sync.kazoo.shapes import Document, as_list, as_object, flag, identifier, text

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("id", "parent_id", "name", "realm", "enabled"),
    "owners": ("id", "account_id", "name"),
    "devices": (
        "id", "account_id", "owner_id", "name", "sip_username", "sip_realm", "ha1", "enabled", "presence_id",
        "suppress_unregister_notify", "register_overwrite_notify",
    ),
}  # fmt: skip

Row = list[str]


@dataclass(slots=True)
class Owner:
    """What rows need of a user. Whether it is enabled shows by the list that has it."""

    row: Row
    presence_id: str
    enabled: bool = True


def parent_of(summary: Document) -> str:
    """The ID of an account's parent, from the account's entry in the list of descendants."""
    tree = as_list(summary.get("tree"), "tree of an entry of data")
    return identifier(tree[-1] if tree else None, "tree of an entry of data: the last of its elements")


def account_row(document: Document, parent_id: str) -> Row:
    """The row of an account, from its document."""
    realm = text(document, "realm")
    return [
        text(document, "id"),
        parent_id,
        text(document, "name") or realm,
        realm,
        _word(flag(document, "enabled", default=True)),
    ]


def owner_of(summary: Document, account_id: str) -> Owner:
    """A user, from its entry in the list."""
    name = f"{text(summary, 'first_name')} {text(summary, 'last_name')}".strip()
    row = [text(summary, "id"), account_id, name or text(summary, "username")]
    return Owner(row, text(summary, "presence_id"))


def device_row(document: Document, account_id: str, realm: str, owners: Mapping[str, Owner]) -> Row | None:
    """The row of a device, from its document. Of the password only the hash is kept.

    Args:
        document: as Kazoo gives it.
        account_id: the device's account.
        realm: the account's, in lower case.
        owners: the account's users by ID.

    Returns:
        None for a device that does not register: it has no SIP username, or is authenticated by its IP address.

    Raises:
        Unfit: a value has an unexpected type or content.
    """
    given = document.get("sip")
    sip = {} if given is None else as_object(given, "sip")
    username, password = text(sip, "username", of="sip."), text(sip, "password", of="sip.")
    if not username or text(sip, "method", of="sip.") == "ip":
        return None
    owner = owners.get(text(document, "owner_id"))
    own_realm = (
        text(sip, "realm", of="sip.").encode().lower().decode()
    )  # only A to Z: the lower case of "K" (Kelvin) is ASCII
    # HA1 of RFC 2617, 3.2.2.2.
    secret = f"{username}:{own_realm or realm}:{password}".encode()
    # As Kazoo does: a device with a disabled owner cannot register (reg_authn_req), and an owner's presence ID takes
    # precedence over the device's (kzd_devices).
    enabled = flag(document, "enabled", default=True) and (owner is None or owner.enabled)
    presence_id = (owner.presence_id if owner else "") or text(document, "presence_id") or username
    return [
        text(document, "id"),
        account_id,
        owner.row[0] if owner else "",
        text(document, "name"),
        username,
        own_realm if own_realm != realm else "",
        hashlib.md5(secret, usedforsecurity=False).hexdigest() if password else "",
        _word(enabled),
        presence_id if "@" in presence_id else f"{presence_id}@{realm}",
        _word(flag(document, "suppress_unregister_notifications", default=False)),
        _word(flag(document, "register_overwrite_notify", default=False)),
    ]


def _word(value: bool) -> str:
    return "true" if value else "false"
