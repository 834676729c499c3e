"""What a document of Kazoo's is made of, for readers who do not trust it: each value is as expected, or named as unfit.

A message names the key and what is wrong, and never shows the value: it may be a password, or our own key.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from sql.directory.problems import json_type

Document = dict[str, Any]
LONGEST_TEXT = 1000
# Kazoo makes 32 hexadecimal digits (kz_datamgr:get_uuid); some documents were written by hand. An ID goes into the path
# of a URL and of a directory: nothing with a meaning there is one.
IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Unfit(ValueError):
    """A document, or a value in it, is not such as Kazoo's are."""


def parsed(body: bytes) -> Document:
    """Parse an answer, which must be one object of JSON (RFC 8259) in UTF-8, each key in an object once."""
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
    """The value, if it is an object."""
    if not isinstance(value, dict):
        raise Unfit(f"{what} must be an object, not {json_type(value)}")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """The value, if it is an array."""
    if not isinstance(value, list):
        raise Unfit(f"{what} must be an array, not {json_type(value)}")
    return value


def identifier(value: object, what: str) -> str:
    """The value, if it can be an ID of Kazoo's."""
    if not isinstance(value, str):
        raise Unfit(f"{what} must be text, not {json_type(value)}")
    if not IDENTIFIER.fullmatch(value):
        raise Unfit(f"{what} is no ID: it must be 1 to 64 of the characters 0-9 A-Z a-z _ -")
    return value


def text(document: Mapping[str, Any], name: str, *, of: str = "") -> str:
    """A text as it stands, a number as text; none where there is neither. Lines become one.

    Args:
        document: the object that it is in.
        name: its key.
        of: what the name comes after in messages, such as ``sip.``.
    """
    value = document.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit(f"{of}{name} must be text, not {json_type(value)}")
    line = " ".join(str(value).splitlines())
    if len(line) > LONGEST_TEXT:
        raise Unfit(f"{of}{name} has {len(line):,} characters, {LONGEST_TEXT:,} are allowed")
    # Half of a UTF-16 pair, which JSON can escape and UTF-8 cannot hold; PostgreSQL's text has no NUL.
    if any("\ud800" <= each <= "\udfff" or each == "\0" for each in line):
        raise Unfit(f"{of}{name} has a character that no text can have")
    return line


def flag(document: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """True or false, also in quotes, as Kazoo reads them (kz_term:is_true)."""
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
