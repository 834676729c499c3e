"""The query parameters that Crossbar's lists share: paging, order and filters."""

import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar

from flask import request

from api.errors import InvalidData
from sql.registrations.model import TYPES, Condition, Kind

# PHP's http_build_query writes the numbers.
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
NUMBER = re.compile(r"[0-9]{1,15}")
# PostgreSQL keeps neither in a text; lone surrogates can only come from an escape in a JSON list.
UNFIT = re.compile("[\0\ud800-\udfff]")
START_KEY = re.compile(r"[0-9a-f]{1,15}")
START_KEY_OF_TEXT = re.compile(r"(?:[0-9a-f]{2}){1,1024}")
# Crossbar's names for the bounds of times, and the key that each is about.
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
    "missing_value": "missing_value",  # the name in Crossbar's documentation
    "value_missing": "missing_value",  # the name in its code
}
# These hold for every object of a list whose objects never have the key.
HOLDS_WITHOUT_KEY = {"filter_not", "key_missing", "missing_value"}


@dataclass(slots=True, kw_only=True)
class Conditions:
    """What an object must fulfil; ``nothing`` when none can, whatever it holds."""

    each: list[Condition] = field(default_factory=list)
    nothing: bool = False


@dataclass(slots=True, kw_only=True)
class ListQuery:
    """What a client asked for; ``page_size`` None is the whole list."""

    page_size: int | None
    start_key: str | None
    ascending: bool
    conditions: Conditions

    @property
    def start(self) -> int | None:
        """The position where the page begins, in a list whose positions are numbers."""
        return int(self.start_key, 16) if self.start_key else None

    @property
    def start_text(self) -> str | None:
        """The position where the page begins, in a list whose positions are texts."""
        if not self.start_key:
            return None
        # A client may have made the key up; then the page begins anywhere.
        return bytes.fromhex(self.start_key).decode(errors="replace").replace("\0", "\ufffd")


def _refuse(name: str, rule: str, message: str) -> NoReturn:
    raise InvalidData(name, rule, message)


def read_flag(name: str, *, default: bool) -> bool:
    """A parameter that is ``true``, ``1``, ``false`` or ``0``, in any case.

    Raises:
        InvalidData: it is none of them.
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


def read_query(
    *,
    default_page_size: int,
    max_page_size: int,
    types: Mapping[str, type] = TYPES,
    start_keys: re.Pattern[str] = START_KEY,
) -> ListQuery:
    """Read the request's parameters. Unknown ones are ignored, as in Crossbar.

    Args:
        default_page_size: for ``paginate=true`` or a start key without a size.
        max_page_size: a larger one is refused.
        types: the keys of the list's objects, with their types.
        start_keys: what its start keys look like.

    Raises:
        InvalidData: names the parameter that has a bad value.
    """
    arguments = request.args
    descending = read_flag("descending", default=True)
    ascending = read_flag("ascending", default=not descending)
    start_key = arguments.get("start_key") or None
    size = None
    if "page_size" in arguments:
        size = _number("page_size", arguments["page_size"])
        if not 1 <= size <= max_page_size:
            _refuse("page_size", "minimum" if size < 1 else "maximum", f"Value must be between 1 and {max_page_size}")
    paginate = read_flag("paginate", default=size is not None or start_key is not None)
    if start_key and not start_keys.fullmatch(start_key):
        _refuse("start_key", "pattern", "Value is not a start key of this list")
    return ListQuery(
        page_size=(size or default_page_size) if paginate else None,
        start_key=start_key,
        ascending=ascending,
        conditions=read_conditions(types),
    )


def read_conditions(types: Mapping[str, type] = TYPES) -> Conditions:
    """Read the filters of the request.

    Args:
        types: the keys that the objects can have, with their types.

    Raises:
        InvalidData: names the parameter that has a bad value.
    """
    conditions = Conditions()
    for name, value in request.args.items(multi=True):
        if name in RANGES:
            kind, key = RANGES[name]
            bound = _number(name, value)
            if key in types:
                conditions.each.append(Condition(kind, key, bound))
            else:
                conditions.nothing = True
        elif name in PRESENCE:
            _add(conditions, PRESENCE[name], value, types)
        elif name.startswith("filter_not_"):
            _add(conditions, "filter_not", name.removeprefix("filter_not_"), types, _texts(name, value))
        elif name.startswith("filter_"):
            _add(conditions, "filter", name.removeprefix("filter_"), types, _texts(name, value))
    return conditions


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


def _add(
    conditions: Conditions, kind: Kind, key: str, types: Mapping[str, type], texts: list[str] | None = None
) -> None:
    if key in types:
        if texts and types[key] is bool:
            texts = [str(BOOLEANS[text.lower()]).lower() if text.lower() in BOOLEANS else text for text in texts]
        conditions.each.append(Condition(kind, key, texts))
    elif (kind in HOLDS_WITHOUT_KEY) == ("" in (texts or ())):  # a missing key compares as ""
        conditions.nothing = True


Position = int | str


class Rows(Protocol):
    """Some rows of a list, in its order."""

    @property
    def positions(self) -> Sequence[Position]:
        """Where each stands in the order of the list."""

    def first(self, count: int) -> Self:
        """The first so many of them."""


Each = TypeVar("Each")
Some = TypeVar("Some", bound=Rows)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Each]):
    """Some objects of a list with their positions."""

    positions: list[Position]
    objects: list[Each]

    def first(self, count: int) -> Self:
        """The first so many of them."""
        return type(self)(self.positions[:count], self.objects[:count])


class Page(Generic[Some]):
    """Passes the first ``size`` rows on, as JSON, and keeps the key of the row after them."""

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
        """What the envelope says about the list once it is used up: how many this answer has, and where pages begin."""
        keys: dict[str, Any] = {"page_size": self.count}
        if query.start_key is not None:
            keys["start_key"] = query.start_key
        if self.next_start_key is not None:
            keys["next_start_key"] = self.next_start_key
        return keys


def write_start_key(position: Position) -> str:
    """The start key of a page that begins at this position; opaque to clients."""
    return f"{position:x}" if isinstance(position, int) else position.encode().hex()
