"""Reading a JSON directory as records that know where each value stood.

Python's json tells places of syntax errors only. Here the objects and arrays that matter are walked by hand, and each
value in them is decoded by the json module, from where it stands.
"""

import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, BinaryIO

from sql.directory.problems import WHOLE_FILE, Place, Problems, json_type, place, shown
from sql.directory.rows import FIELDS, KINDS, Record, unknown_field

_SECTIONS = {f"{kind}s": kind for kind in KINDS}
_skip_space = re.compile(r"[ \t\n\r]*").match
# As float, a number of any length is read; none is wanted, but its place is.
_decode = json.JSONDecoder(parse_int=float).raw_decode


class JsonFile:
    """A file with an object of accounts, owners and devices; `kinds` tells which of them it has.

    It is read twice: here for its syntax and where the arrays begin, then by `records`, in any order.
    """

    def __init__(self, name: str, stream: BinaryIO, problems: Problems) -> None:
        self.name = name
        self._problems = problems
        self._starts: dict[str, int] = {}
        content = stream.read()
        try:
            self._text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].removeprefix(b"\xef\xbb\xbf").decode()
            at = place(before.count("\n") + 1, len(before) - before.rfind("\n"))
            problems.add(name, at, f"byte 0x{content[error.start]:02x} is not UTF-8")
            return
        self._newlines = array("q", (match.start() for match in re.finditer("\n", self._text)))
        try:
            self._find_sections()
        except json.JSONDecodeError as error:
            self._starts.clear()
            problems.add(name, self._place(error.pos), f"this is not JSON: {error.msg}")
        except RecursionError:
            self._starts.clear()
            problems.add(name, WHOLE_FILE, "arrays and objects are nested too deeply")

    @property
    def kinds(self) -> list[str]:
        """Those of account, owner and device that the file has an array of."""
        return list(self._starts)

    def records(self, kind: str) -> Iterator[Record]:
        """The elements of one array; one that is no object becomes a problem."""
        for index in self._elements(self._starts[kind]):
            if self._text[index] == "{":
                yield self._record(kind, index)

    def _find_sections(self) -> None:
        index = self._skip(0)
        if self._text[index : index + 1] != "{":
            value, _ = self._value(index)
            self._problem(index, f"must be an object with {', '.join(_SECTIONS)}, not {json_type(value)}")
            return
        index = self._skip(index + 1)
        while self._text[index : index + 1] != "}":
            key, key_index, index = self._key(index)
            kind = _SECTIONS.get(key)
            if kind is None:
                self._problem(key_index, f"there is no {shown(key)}; {unknown_field(key, _SECTIONS)}")
            elif kind in self._starts:
                self._problem(key_index, f"{key} is there twice")
            if kind is not None and self._text[index : index + 1] == "[":
                self._starts[kind] = index
                index = self._check_elements(kind, index)
            else:
                value, end = self._value(index)
                if kind is not None:
                    self._problem(index, f"{key} must be an array, not {json_type(value)}")
                index = end
            index = self._next(index, "}")
        index = self._skip(index + 1)
        if index < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, index)

    def _check_elements(self, kind: str, index: int) -> int:
        index = self._skip(index + 1)
        while self._text[index : index + 1] != "]":
            value, end = self._value(index)
            if not isinstance(value, dict):
                self._problem(index, f"must be an object, the {kind}, not {json_type(value)}")
            index = self._next(end, "]")
        return index + 1

    def _elements(self, index: int) -> Iterator[int]:
        index = self._skip(index + 1)
        while self._text[index] != "]":
            yield index
            index = self._next(self._end_of_element if self._text[index] == "{" else self._value(index)[1], "]")

    def _record(self, kind: str, start: int) -> Record:
        values: dict[str, object] = {}
        places: dict[str, Place] = {}
        at = self._place(start)
        index = self._skip(start + 1)
        while self._text[index] != "}":
            key, key_index, index = self._key(index)
            if key not in FIELDS[kind]:
                self._problem(key_index, f"{kind}s have no {shown(key)}; {unknown_field(key, FIELDS[kind])}")
            elif key in values:
                self._problem(key_index, f"{key} is given twice")
            places[key] = self._place(index)
            values[key], index = self._value(index)
            index = self._next(index, "}")
        self._end_of_element = index + 1
        return Record(at, values, places)

    def _key(self, index: int) -> tuple[str, int, int]:
        if self._text[index : index + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, index)
        key, end = self._value(index)
        end = self._skip(end)
        if self._text[end : end + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", self._text, end)
        return key, index, self._skip(end + 1)

    def _next(self, index: int, closing: str) -> int:
        """Go on behind a value: to the next one after a comma, or to the closing bracket."""
        index = self._skip(index)
        character = self._text[index : index + 1]
        if character == ",":
            index = self._skip(index + 1)
            if self._text[index : index + 1] == closing:
                raise json.JSONDecodeError("Illegal trailing comma before the end", self._text, index)
        elif character != closing:
            raise json.JSONDecodeError("Expecting ',' delimiter", self._text, index)
        return index

    def _value(self, index: int) -> tuple[Any, int]:
        return _decode(self._text, index)

    def _skip(self, index: int) -> int:
        match = _skip_space(self._text, index)
        assert match is not None  # noqa: S101  # the pattern matches nothing at all, too
        return match.end()

    def _place(self, index: int) -> Place:
        line = bisect_left(self._newlines, index)
        return place(line + 1, index - (self._newlines[line - 1] if line else -1))

    def _problem(self, index: int, message: str) -> None:
        self._problems.add(self.name, self._place(index), message)
