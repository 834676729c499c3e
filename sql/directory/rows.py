"""Accounts, owners and devices as a file gives them, with the place of every value; see directory_rules."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

from sql.directory.problems import Place

KINDS = ("account", "owner", "device")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "account": ("id", "parent_id", "name", "realm", "enabled", "superduper_admin", "api_key", "api_key_hash"),
    "owner": ("id", "account_id", "name"),
    "device": (
        "id", "account_id", "owner_id", "name", "sip_username", "sip_realm", "password", "ha1", "enabled",
        "presence_id", "suppress_unregister_notify", "register_overwrite_notify",
    ),
}  # fmt: skip
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "account": ("id", "name", "realm"),
    "owner": ("id", "account_id"),
    "device": ("id", "account_id", "sip_username"),
}


class Record(NamedTuple):
    """What a file says of one row, before any rule: values by field, and where each stood.

    A value is text, or for JSON anything that JSON has. ``at`` is where the row begins.
    """

    at: Place
    values: dict[str, object]
    places: dict[str, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as a file gives it.

    Here as in the other kinds: None means that the file does not say, so what the database holds stays;
    ``""`` means none. ``places`` tells where each value stood, ``at`` where the row begins.
    """

    id: str
    parent_id: str | None
    name: str
    realm: str
    enabled: bool | None
    superduper_admin: bool | None
    api_key_hash: bytes | None = field(repr=False)
    api_key_at: Place | None
    at: Place
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An owner as a file gives it."""

    id: str
    account_id: str
    name: str | None
    at: Place
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as a file gives it; its password goes no further than `hash_for`."""

    id: str
    account_id: str
    owner_id: str | None
    name: str | None
    sip_username: str
    sip_realm: str | None
    password: str | None = field(repr=False)
    ha1: str | None = field(repr=False)
    enabled: bool | None
    presence_id: str | None
    suppress_unregister_notify: bool | None
    register_overwrite_notify: bool | None
    at: Place
    places: Mapping[str, Place]

    def hash_for(self, realm: str) -> str | None:
        """HA1 of RFC 2617, 3.2.2.2, as Kamailio's auth_db compares it with calculate_ha1=0; None when not given."""
        if self.password is None:
            return self.ha1
        secret = f"{self.sip_username}:{realm}:{self.password}".encode()
        return hashlib.md5(secret, usedforsecurity=False).hexdigest()


def unknown_field(name: str, fields: Iterable[str]) -> str:
    """Say that there is no such field, and which was perhaps meant."""
    near = get_close_matches(name.strip().lower(), fields, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(fields)}"
