"""What Kazoo's documents become in the directory: rows of the three CSV files that an import takes.

They have no column superduper_admin: what an account may in the API is not for Kazoo to say, and stays as it is.
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
    """A user, as far as rows need it; ``enabled`` is told by which list he is in."""

    row: Row
    presence_id: str
    enabled: bool = True


def parent_of(summary: Document) -> str:
    """The ID of the account above one, of its entry in the list of descendants."""
    tree = as_list(summary.get("tree"), "tree of an entry of data")
    return identifier(tree[-1] if tree else None, "tree of an entry of data: the last of its elements")


def account_row(document: Document, parent_id: str) -> Row:
    """An account, of its document."""
    realm = text(document, "realm")
    return [
        text(document, "id"),
        parent_id,
        text(document, "name") or realm,
        realm,
        _word(flag(document, "enabled", default=True)),
    ]


def owner_of(summary: Document, account_id: str) -> Owner:
    """A user, of its entry in the list."""
    name = f"{text(summary, 'first_name')} {text(summary, 'last_name')}".strip()
    row = [text(summary, "id"), account_id, name or text(summary, "username")]
    return Owner(row, text(summary, "presence_id"))


def device_row(document: Document, account_id: str, realm: str, owners: Mapping[str, Owner]) -> Row | None:
    """A device, of its document; the password goes no further than its hash.

    Args:
        document: as Kazoo gives it.
        account_id: whose device it is.
        realm: the account's, in lower case.
        owners: the account's users by their ID.

    Returns:
        None when it does not register: it has no SIP username, or is told by its IP address.

    Raises:
        Unfit: a value is not such as Kazoo's are.
    """
    given = document.get("sip")
    sip = {} if given is None else as_object(given, "sip")
    username, password = text(sip, "username", of="sip."), text(sip, "password", of="sip.")
    if not username or text(sip, "method", of="sip.") == "ip":
        return None
    owner = owners.get(text(document, "owner_id"))
    own_realm = text(sip, "realm", of="sip.").encode().lower().decode()  # A to Z alone: others may become one of these
    # HA1 of RFC 2617, 3.2.2.2.
    secret = f"{username}:{own_realm or realm}:{password}".encode()
    # As Kazoo's registrar: who has a disabled owner does not register (reg_authn_req), and an owner's presence ID goes
    # before the device's (kzd_devices).
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
