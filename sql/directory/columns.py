"""The columns of an import: accounts, owners and devices as files give them, and the rules of each value."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

# Line and paragraph separators are control characters to PostgreSQL's [[:cntrl:]], too. A lone surrogate, which JSON
# can escape, is no character at all.
_CONTROL = "\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\ud800-\udfff"
_UNPRINTABLE = re.compile(f"[{_CONTROL}]")
_UNPRINTABLE_IN_NAMES = re.compile(f"(?![\\t\\r\\n])[{_CONTROL}]")


def _text(value: str) -> str:
    if _UNPRINTABLE.search(value):
        raise ValueError("control characters are not allowed")
    return value


def _name(value: str) -> str:
    if _UNPRINTABLE_IN_NAMES.search(value):
        raise ValueError("control characters are not allowed")
    return value


def _identifier(value: str) -> str:
    if "/" in value:
        raise ValueError("a slash is not allowed")
    return _text(value)


def _realm(value: str) -> str:
    if re.search(r"[\s@]", value):
        raise ValueError("a realm has neither spaces nor @")
    if not value.isascii():
        raise ValueError("a realm is ASCII; write such a domain as xn--")
    return _text(value).lower()


def _sip_username(value: str) -> str:
    # RFC 3261, 25.1. Kamailio refuses escaped characters beyond ASCII and would never find such a user.
    if not value.isascii():
        raise ValueError("a SIP username is ASCII")
    return _text(value)


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    return value


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
Identifier = Annotated[str, StringConstraints(max_length=64), AfterValidator(_identifier)]
Realm = Annotated[str, StringConstraints(max_length=253), AfterValidator(_realm)]
SipUsername = Annotated[str, StringConstraints(max_length=64), AfterValidator(_sip_username)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9A-Fa-f]{64}$")]
Ha1 = Annotated[str, StringConstraints(pattern="^[0-9A-Fa-f]{32}$", to_lower=True)]
NotEmpty = AfterValidator(_not_empty)

# In place of pydantic's.
_MESSAGES = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_unicode": "is not valid Unicode",
    "bool_type": "must be true or false",
}

# Stands for the value of a key that an object of JSON has twice.
TWICE = object()

AnyRow = TypeVar("AnyRow", bound="Row")


class Row(BaseModel):
    """One row of a file. None means that the file does not say, so the database keeps its value; ``""`` means none."""

    model_config = ConfigDict(strict=True)
    kind: ClassVar[str]
    # An empty one is not given: a spreadsheet cannot tell the two apart.
    secrets: ClassVar[frozenset[str]] = frozenset()
    flags: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def required(cls) -> list[str]:
        """Names of the fields that every row must have."""
        return [name for name, field in cls.model_fields.items() if field.is_required()]

    def values(self) -> Iterator[object]:
        """The values in the order of the fields, without the secrets."""
        return (getattr(self, name) for name in type(self).model_fields if name not in self.secrets)


class Account(Row):
    """An account."""

    kind = "account"
    secrets = frozenset({"api_key", "api_key_hash"})
    flags = frozenset({"enabled", "superduper_admin"})

    id: Annotated[Identifier, NotEmpty]
    parent_id: Identifier | None = None
    name: Annotated[Name, NotEmpty]
    realm: Annotated[Realm, NotEmpty]
    enabled: bool | None = None
    superduper_admin: bool | None = None
    api_key: Text | None = Field(None, repr=False)
    api_key_hash: Sha256 | None = Field(None, repr=False)

    @field_validator("api_key_hash")
    @classmethod
    def _instead_of_api_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _instead_of("api_key", value, info)

    def stored_key(self) -> bytes | None:
        """SHA-256 of the API key; None when neither is given."""
        if self.api_key is not None:
            return hashlib.sha256(self.api_key.encode()).digest()
        return bytes.fromhex(self.api_key_hash) if self.api_key_hash else None


class Owner(Row):
    """An owner of devices."""

    kind = "owner"

    id: Annotated[Identifier, NotEmpty]
    account_id: Annotated[Identifier, NotEmpty]
    name: Name | None = None


class Device(Row):
    """A device; its password goes no further than `hash_for`."""

    kind = "device"
    secrets = frozenset({"password", "ha1"})
    flags = frozenset({"enabled", "suppress_unregister_notify", "register_overwrite_notify"})

    id: Annotated[Identifier, NotEmpty]
    account_id: Annotated[Identifier, NotEmpty]
    owner_id: Identifier | None = None
    name: Name | None = None
    sip_username: Annotated[SipUsername, NotEmpty]
    sip_realm: Realm | None = None
    password: Text | None = Field(None, repr=False)
    ha1: Ha1 | None = Field(None, repr=False)
    enabled: bool | None = None
    presence_id: Text | None = None
    suppress_unregister_notify: bool | None = None
    register_overwrite_notify: bool | None = None

    @field_validator("ha1")
    @classmethod
    def _instead_of_password(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _instead_of("password", value, info)

    def hash_for(self, realm: str) -> str | None:
        """HA1 of RFC 2617, 3.2.2.2, as Kamailio's auth_db compares it with calculate_ha1=0; None when not given."""
        if self.password is None:
            return self.ha1
        secret = f"{self.sip_username}:{realm}:{self.password}".encode()
        return hashlib.md5(secret, usedforsecurity=False).hexdigest()


KINDS: Mapping[str, type[Row]] = {model.kind: model for model in (Account, Owner, Device)}


def read_row(model: type[AnyRow], values: Mapping[str, object], *, fault: Callable[[str, str], None]) -> AnyRow:
    """Check a row.

    Args:
        model: Account, Owner or Device.
        values: by field, as the file has them: text, or anything that JSON has.
        fault: called with a field and a message for each value that breaks a rule.

    Returns:
        A row in any case, so that checks across rows do not report what only follows from a fault in this one.
    """
    for name in values.keys() - model.model_fields.keys():
        fault(name, f"{model.kind}s have no such field; {unknown_field(name, model.model_fields)}")
    said = {
        name: "" if value is None and name not in model.flags else value
        for name, value in values.items()
        if name in model.model_fields and (name not in model.secrets or value not in (None, ""))
    }
    try:
        return model.model_validate(said)
    except ValidationError as error:
        wrong = {str(each["loc"][0]): each for each in error.errors(include_url=False, include_input=False)}
    for name, each in wrong.items():
        if said.get(name) is TWICE:
            fault(name, "is given twice")
        else:
            fault(name, _MESSAGES.get(each["type"]) or each["msg"].removeprefix("Value error, "))
    needed = [name for name in model.required() if name in wrong]
    right = {name: value for name, value in said.items() if name not in wrong}
    row = model.model_validate(right | dict.fromkeys(needed, "x"))
    return row.model_copy(update={name: _harmless(said.get(name)) for name in needed})


def _harmless(value: object) -> str:
    """A text that PostgreSQL can hold."""
    return value.encode("utf-8", "replace").decode().replace("\0", "?") if isinstance(value, str) else ""


def _instead_of(other: str, value: str | None, info: ValidationInfo) -> str | None:
    if value is not None and info.data.get(other) is not None:
        raise ValueError(f"{other} is given too; only one of them is allowed")
    return value


def unknown_field(name: str, fields: Mapping[str, object]) -> str:
    """Say that there is no such field, and which was perhaps meant."""
    near = get_close_matches(name.strip().lower(), fields, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(fields)}"
