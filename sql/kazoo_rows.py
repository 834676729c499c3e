"""What Kazoo's documents become in the directory: rows of the three CSV files that an import takes."""

import hashlib
from collections.abc import Mapping
from typing import Any

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("id", "parent_id", "name", "realm", "enabled", "superduper_admin"),
    "owners": ("id", "account_id", "name"),
    "devices": (
        "id", "account_id", "owner_id", "name", "sip_username", "sip_realm", "ha1", "enabled", "presence_id",
        "suppress_unregister_notify", "register_overwrite_notify",
    ),
}  # fmt: skip

Row = list[str]


def account_row(document: Mapping[str, Any], parent_id: str) -> Row:
    """An account, of its document."""
    realm = _text(document, "realm")
    return [
        _text(document, "id"),
        parent_id,
        _text(document, "name") or realm,
        realm,
        _flag(document, "enabled", default=True),
        _flag(document, "superduper_admin", default=False),
    ]


def owner_row(summary: Mapping[str, Any], account_id: str) -> Row:
    """A user, of its entry in the list."""
    name = f"{_text(summary, 'first_name')} {_text(summary, 'last_name')}".strip()
    return [_text(summary, "id"), account_id, name or _text(summary, "username")]


def device_row(
    document: Mapping[str, Any], account_id: str, realm: str, owners: Mapping[str, Mapping[str, Any]]
) -> Row | None:
    """A device, of its document; the password goes no further than its hash.

    Args:
        document: as Kazoo gives it.
        account_id: whose device it is.
        realm: the account's, in lower case.
        owners: the account's users by their ID; ``enabled`` is False of those who are disabled.

    Returns:
        None when it does not register: it has no SIP username, or is told by its IP address.
    """
    sip = document.get("sip") or {}
    username, password = _text(sip, "username"), _text(sip, "password")
    if not username or _text(sip, "method") == "ip":
        return None
    owner_id = _text(document, "owner_id")
    owner = owners.get(owner_id)
    own_realm = _text(sip, "realm").lower()
    # HA1 of RFC 2617, 3.2.2.2.
    secret = f"{username}:{own_realm or realm}:{password}".encode()
    # As Kazoo's registrar: who has a disabled owner does not register (reg_authn_req), and an owner's presence ID goes
    # before the device's (kzd_devices).
    enabled = _flag(document, "enabled", default=True) == "true" and (owner is None or owner.get("enabled", True))
    presence_id = _text(owner or {}, "presence_id") or _text(document, "presence_id") or username
    return [
        _text(document, "id"),
        account_id,
        owner_id if owner is not None else "",
        _text(document, "name"),
        username,
        own_realm if own_realm != realm else "",
        hashlib.md5(secret, usedforsecurity=False).hexdigest() if password else "",
        "true" if enabled else "false",
        presence_id if "@" in presence_id else f"{presence_id}@{realm}",
        _flag(document, "suppress_unregister_notifications", default=False),
        _flag(document, "register_overwrite_notify", default=False),
    ]


def _text(document: Mapping[str, Any], name: str) -> str:
    """A text as it stands, a number as text; none where there is neither. Lines become one."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return " ".join(str(value).splitlines())


def _flag(document: Mapping[str, Any], name: str, *, default: bool) -> str:
    value = document.get(name)
    return "true" if (value if isinstance(value, bool) else default) else "false"
