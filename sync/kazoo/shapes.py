"""Reads values from Kazoo's documents, which are not trusted, and raises Unfit for unexpected ones.

A message names the key and what is wrong, but never the value, which may be a password or our own API key.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
LONGEST_TEXT = 1000
# Kazoo makes IDs of 32 hexadecimal digits (kz_datamgr:get_uuid); some documents were written by hand. An ID becomes
# part of a URL and of a path, so it may have no character with a meaning there.
IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Unfit(ValueError):
    """A document of Kazoo's, or a value in it, is not as expected."""


def json_type(value: object) -> str:
    """Name the type of what the json module decoded, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "text", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names[type(value)]


def parsed(body: bytes) -> Document:
    """Parse an answer: a JSON object (RFC 8259) in UTF-8 without duplicate keys."""
    try:
        document = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except Unfit:
        raise
    except UnicodeDecodeError as error:
        raise Unfit(f"the answer is not UTF-8: byte 0x{body[error.start]:02x} at {error.start}") from error
    except RecursionError as error:
        raise Unfit("the answer is nested too deeply") from error
    except ValueError as error:
        raise Unfit(f"the answer is not JSON: {error}") from error
    return as_object(document, "the answer")


def as_object(value: object, what: str) -> Document:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        raise Unfit(f"{what} must be an object, not {json_type(value)}")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """The value, which must be an array."""
    if not isinstance(value, list):
        raise Unfit(f"{what} must be an array, not {json_type(value)}")
    return value


def identifier(value: object, what: str) -> str:
    """The value, which must be a valid ID of Kazoo's."""
    if not isinstance(value, str):
        raise Unfit(f"{what} must be text, not {json_type(value)}")
    if not IDENTIFIER.fullmatch(value):
        raise Unfit(f"{what} is not an ID, which has 1 to 64 of the characters 0-9 A-Z a-z _ -")
    return value


def text(document: Mapping[str, Any], name: str, *, of: str = "") -> str:
    """A text, or a number as text, with line breaks as blanks; "" if there is none.

    Args:
        document: the object.
        name: the key.
        of: what precedes the key in messages, such as ``sip.``.
    """
    value = document.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit(f"{of}{name} must be text, not {json_type(value)}")
    line = " ".join(str(value).splitlines())
    if len(line) > LONGEST_TEXT:
        raise Unfit(f"{of}{name} has {len(line):,} characters, {LONGEST_TEXT:,} are allowed")
    # JSON can escape a lone surrogate, which UTF-8 cannot encode, and NUL, which PostgreSQL cannot store.
    if any("\ud800" <= each <= "\udfff" or each == "\0" for each in line):
        raise Unfit(f"{of}{name} has a character that cannot be stored")
    return line


def flag(document: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """True or false, also as text, as Kazoo reads them (kz_term:is_true)."""
    value = document.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in {"true", "false"}:
        raise Unfit(f"{name} must be true or false")
    return value == "true"


def _object(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise Unfit("an object in the answer has a key twice")
    return document


def _constant(_name: str) -> Any:
    raise Unfit("the answer is not JSON: it has NaN or Infinity")
