"""The rules of each field of the directory, those of the tables (0003-directory.sql); neither CSV nor JSON nor SQL."""

import hashlib
import re
from collections.abc import Callable

from sql.directory.problems import Problems, json_type
from sql.directory.rows import Account, Device, Owner, Record

# Line and paragraph separators too: to PostgreSQL's [[:cntrl:]] they are control characters. A lone surrogate can
# stand in JSON (as an escape) but is no character, and UTF-8 cannot hold it.
_CONTROL = "\\x00-\\x1f\\x7f-\\x9f\u2028\u2029"
_UNFIT = re.compile(f"[{_CONTROL}\ud800-\udfff]")
_UNFIT_IN_NAMES = re.compile(f"(?![\\t\\r\\n])[{_CONTROL}\ud800-\udfff]")
_UNFIT_IN_REALMS = re.compile(r"[\s@]")
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _unfit(value: str) -> str | None:
    return "control characters are not allowed" if _UNFIT.search(value) else None


def _identifier(value: str) -> str | None:
    if len(value) > 64:
        return f"has {len(value)} characters, 64 are allowed"
    return "a slash is not allowed" if "/" in value else _unfit(value)


def _name(value: str) -> str | None:
    return "control characters are not allowed" if _UNFIT_IN_NAMES.search(value) else None


def _realm(value: str) -> str | None:
    if len(value) > 253:
        return f"has {len(value)} characters, 253 are allowed"
    if _UNFIT_IN_REALMS.search(value):
        return "a realm has neither spaces nor @"
    return _unfit(value) or (None if value.isascii() else "a realm is ASCII; write such a domain as xn--")


def _sip_username(value: str) -> str | None:
    if len(value) > 64:
        return f"has {len(value)} characters, 64 are allowed"
    # RFC 3261, 25.1; Kamailio refuses escaped characters beyond ASCII, and would look up others in vain.
    return _unfit(value) or (None if value.isascii() else "a SIP username is ASCII")


def _hex_digits(count: int) -> Callable[[str], str | None]:
    pattern = re.compile(f"[0-9A-Fa-f]{{{count}}}")
    return lambda value: None if pattern.fullmatch(value) else f"is not {count} hexadecimal digits"


_ha1, _api_key_hash = _hex_digits(32), _hex_digits(64)


class RowReader:
    """Turns the records of one file into rows; what breaks a rule becomes a problem, and a row comes all the same.

    That way the checks across rows, which come later, do not stumble over a row that is missing.
    """

    def __init__(self, file: str, problems: Problems, *, flags_are_words: bool) -> None:
        self._file = file
        self._problems = problems
        self._flags_are_words = flags_are_words

    def account(self, record: Record) -> Account:
        """Check an account; its API key becomes a hash here."""
        api_key = self._secret(record, "api_key", _unfit)
        given_hash = self._secret(record, "api_key_hash", _api_key_hash)
        self._refuse_both(record, "api_key", api_key, "api_key_hash", given_hash)
        api_key_hash = None
        if api_key is not None:
            api_key_hash = hashlib.sha256(api_key.encode()).digest()
        elif given_hash:
            api_key_hash = bytes.fromhex(given_hash)
        return Account(
            id=self._required(record, "id", _identifier),
            parent_id=self._text(record, "parent_id", _identifier),
            name=self._required(record, "name", _name),
            realm=self._required(record, "realm", _realm).lower(),
            enabled=self._flag(record, "enabled"),
            superduper_admin=self._flag(record, "superduper_admin"),
            api_key_hash=api_key_hash,
            api_key_at=record.places.get("api_key" if given_hash is None else "api_key_hash"),
            at=record.at,
            places=record.places,
        )

    def owner(self, record: Record) -> Owner:
        """Check an owner."""
        return Owner(
            id=self._required(record, "id", _identifier),
            account_id=self._required(record, "account_id", _identifier),
            name=self._text(record, "name", _name),
            at=record.at,
            places=record.places,
        )

    def device(self, record: Record) -> Device:
        """Check a device."""
        sip_realm = self._text(record, "sip_realm", _realm)
        password = self._secret(record, "password", _unfit)
        ha1 = self._secret(record, "ha1", _ha1)
        self._refuse_both(record, "password", password, "ha1", ha1)
        return Device(
            id=self._required(record, "id", _identifier),
            account_id=self._required(record, "account_id", _identifier),
            owner_id=self._text(record, "owner_id", _identifier),
            name=self._text(record, "name", _name),
            sip_username=self._required(record, "sip_username", _sip_username),
            sip_realm=sip_realm if sip_realm is None else sip_realm.lower(),
            password=password,
            ha1=ha1 if ha1 is None else ha1.lower(),
            enabled=self._flag(record, "enabled"),
            presence_id=self._text(record, "presence_id", _unfit),
            suppress_unregister_notify=self._flag(record, "suppress_unregister_notify"),
            register_overwrite_notify=self._flag(record, "register_overwrite_notify"),
            at=record.at,
            places=record.places,
        )

    def _text(self, record: Record, name: str, fault: Callable[[str], str | None]) -> str | None:
        if name not in record.values:
            return None
        value = record.values[name]
        if value is None or value == "":
            return ""
        if not isinstance(value, str):
            self._problem(record, name, f"must be text in quotes, not {json_type(value)}")
            return ""
        wrong = fault(value)
        if wrong is None:
            return value
        self._problem(record, name, wrong)
        # It stands in for the value until the import is refused; PostgreSQL could not hold these characters.
        return value.encode("utf-8", "replace").decode().replace("\0", "?")

    def _required(self, record: Record, name: str, fault: Callable[[str], str | None]) -> str:
        value = self._text(record, name, fault)
        if not value:
            self._problem(record, name, "is missing" if value is None else "is empty")
        return value or ""

    def _secret(self, record: Record, name: str, fault: Callable[[str], str | None]) -> str | None:
        # An empty secret is one that is not given: a spreadsheet cannot tell the two apart.
        return self._text(record, name, fault) or None

    def _flag(self, record: Record, name: str) -> bool | None:
        value = record.values.get(name)
        if value is None or isinstance(value, bool):
            return value
        if not self._flags_are_words:
            self._problem(record, name, f"must be true or false, not {json_type(value)}")
            return None
        if value == "":
            return None
        word = _WORDS.get(str(value).lower())
        if word is None:
            self._problem(record, name, "must be true, false, yes, no, 1 or 0")
        return word

    def _refuse_both(self, record: Record, first: str, one: str | None, second: str, other: str | None) -> None:
        if one is not None and other is not None:
            self._problem(record, second, f"{first} is given too; only one of them is allowed")

    def _problem(self, record: Record, name: str, message: str) -> None:
        self._problems.add(self._file, record.places.get(name, record.at), f"{name}: {message}")
