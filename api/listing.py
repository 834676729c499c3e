"""The query parameters of a list, as Crossbar's lists have them: paging, order, filters, format."""

import json
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar

from flask import request

from api.errors import InvalidData
from sql.registrations.model import KEYS, Condition, Kind

BOOLEANS = {"true": True, "false": False}
NUMBER = re.compile(r"[0-9]{1,15}")
# PostgreSQL keeps neither in a text; lone surrogates can only come from an escape in a JSON list.
UNFIT = re.compile("[\0\ud800-\udfff]")
START_KEY = re.compile(r"[0-9a-f]{1,15}")
# Crossbar's names of the times that can be asked for, and which key they mean.
RANGES: dict[str, tuple[Kind, str]] = {
    "created_from": ("at_least", "initial_registration"),
    "created_to": ("at_most", "initial_registration"),
    "modified_from": ("at_least", "last_registration"),
    "modified_to": ("at_most", "last_registration"),
}
PRESENCE: dict[str, Kind] = {
    "has_key": "has_key",
    "key_missing": "key_missing",
    "has_value": "has_value",
    "missing_value": "missing_value",  # so Crossbar's documentation
    "value_missing": "missing_value",  # so its code
}
# What these say of a key that no registration has.
HOLDS_WITHOUT_KEY = {"filter_not", "key_missing", "missing_value"}


@dataclass(slots=True, kw_only=True)
class ListQuery:
    """What a client asked for. ``page_size`` None is the whole list; ``nothing`` when no registration can match."""

    page_size: int | None = None
    start: int | None = None
    ascending: bool = False
    nothing: bool = False
    conditions: list[Condition] = field(default_factory=list)


def _refuse(name: str, rule: str, message: str) -> NoReturn:
    raise InvalidData(name, rule, message)


def read_flag(name: str, *, default: bool) -> bool:
    """A parameter that is true or false, in any case.

    Raises:
        InvalidData: it is neither.
    """
    given = request.args.get(name)
    if given is None:
        return default
    if given.lower() not in BOOLEANS:
        _refuse(name, "type", "Value is not true or false")
    return BOOLEANS[given.lower()]


def _number(name: str, given: str) -> int:
    if not NUMBER.fullmatch(given):
        _refuse(name, "type", "Value is not a non-negative integer")
    return int(given)


def read_query(*, default_page_size: int, max_page_size: int) -> ListQuery:
    """Read the request's parameters; those that are not known are ignored, as in Crossbar.

    Args:
        default_page_size: for ``paginate=true`` or a start key without a size.
        max_page_size: a larger one is refused.

    Raises:
        InvalidData: names the parameter that has a bad value.
    """
    arguments = request.args
    descending = read_flag("descending", default=True)
    query = ListQuery(ascending=read_flag("ascending", default=not descending))
    paginate = read_flag("paginate", default="page_size" in arguments or bool(arguments.get("start_key")))
    if "page_size" in arguments:
        size = _number("page_size", arguments["page_size"])
        if not 1 <= size <= max_page_size:
            _refuse("page_size", "minimum" if size < 1 else "maximum", f"Value must be between 1 and {max_page_size}")
        query.page_size = size
    if paginate:
        query.page_size = query.page_size or default_page_size
    else:
        query.page_size = None
    if start_key := arguments.get("start_key"):
        if not START_KEY.fullmatch(start_key):
            _refuse("start_key", "pattern", "Value is not a start key of this list")
        query.start = int(start_key, 16)
    for name, value in arguments.items(multi=True):
        _read_condition(query, name, value)
    return query


def _read_condition(query: ListQuery, name: str, value: str) -> None:
    if name in RANGES:
        kind, key = RANGES[name]
        query.conditions.append(Condition(kind, key, _number(name, value)))
    elif name in PRESENCE:
        _add(query, PRESENCE[name], value, None)
    elif name.startswith("filter_not_"):
        _add(query, "filter_not", name.removeprefix("filter_not_"), _texts(name, value))
    elif name.startswith("filter_"):
        _add(query, "filter", name.removeprefix("filter_"), _texts(name, value))


def _texts(name: str, value: str) -> list[str]:
    """The texts that a filter's value stands for: itself, and the strings of the JSON list that it may be."""
    try:
        listed = json.loads(value) if value.startswith("[") else []
    except (ValueError, RecursionError):
        listed = []
    texts = [value, *(each for each in listed if isinstance(each, str))]
    if any(UNFIT.search(text) for text in texts):
        _refuse(name, "pattern", "Value holds what is no text")
    return texts


def _add(query: ListQuery, kind: Kind, key: str, value: list[str] | None) -> None:
    if key in KEYS:
        query.conditions.append(Condition(kind, key, value))
    elif (kind in HOLDS_WITHOUT_KEY) == ("" in (value or ())):  # what is missing compares as ""
        query.nothing = True


class Rows(Protocol):
    """Some rows of a list, in its order."""

    @property
    def positions(self) -> Sequence[int]:
        """Where each stands in the order of the list."""

    def first(self, count: int) -> Self:
        """The first so many of them."""


Some = TypeVar("Some", bound=Rows)


class Page(Generic[Some]):
    """Passes the first ``size`` rows on, as JSON, and keeps the key of what comes after them."""

    def __init__(
        self, rows: Generator[Some, None, None], size: int | None, *, as_objects: Callable[[Some], str]
    ) -> None:
        """Read nothing yet.

        Args:
            rows: one more than ``size`` where a page follows, no more; read to their end, and closed.
            size: None for all of them.
            as_objects: compact JSON of some rows, with commas between the objects.
        """
        self._rows = rows
        self._size = size
        self._as_objects = as_objects
        self.count = 0
        self.next_start_key: str | None = None

    def __iter__(self) -> Generator[str, None, None]:
        with closing(self._rows):
            for some in self._rows:
                here = len(some.positions)
                if self._size is not None and self.count + here > self._size:
                    here = self._size - self.count
                    self.next_start_key = write_start_key(some.positions[here])
                self.count += here
                if here:
                    yield self._as_objects(some.first(here))

    def keys_for(self, query: ListQuery) -> dict[str, Any]:
        """What the envelope says of the list, once it is used up: how many this answer has, paged or not, and keys."""
        keys: dict[str, Any] = {"page_size": self.count}
        if query.start is not None:
            keys["start_key"] = write_start_key(query.start)
        if self.next_start_key is not None:
            keys["next_start_key"] = self.next_start_key
        return keys


def write_start_key(position: int) -> str:
    """The start key of a page that begins at this position; opaque to clients."""
    return f"{position:x}"
