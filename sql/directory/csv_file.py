"""A CSV file (RFC 4180, UTF-8) of accounts, owners or devices; its header tells which."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import zip_longest
from typing import BinaryIO

from sql.directory.columns import KINDS, Row, unknown_field
from sql.directory.problems import Problems, Source, shown

FLAGS = {"": None, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# RFC 4180, 2.5: a cell with quotes in it begins and ends with one. Python's reader takes others as they are.
RFC_4180_ROW = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*')


class CsvFile:
    """Reads the header at once, and the rows as a stream.

    What is wrong becomes a problem. Without a usable header `source` is None and there are no rows.
    """

    def __init__(self, path: str, stream: BinaryIO, problems: Problems) -> None:
        self.source: Source | None = None
        self._path = path
        self._problems = problems
        self._rows = self._split(stream)
        number, self._names = next(self._rows, (1, list[str]()))
        if self._names:
            self.source = self._source_of_header(number)
        else:
            problems.of_file(path, "the file is empty; it must begin with a header line")

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Each row below the header, once, with the line that it begins on."""
        assert self.source is not None  # noqa: S101  # the caller has looked
        flags, width = KINDS[self.source.kind].flags, len(self._names)
        for number, cells in self._rows:
            if len(cells) != width:
                self._fault(number, f"the row has {len(cells)} cells, the header {width}")
            values: dict[str, object] = dict(zip_longest(self._names, cells[:width], fillvalue=""))
            for name in flags & values.keys():
                values[name] = FLAGS.get(str(values[name]).lower(), values[name])
            yield number, values

    def _source_of_header(self, number: int) -> Source | None:
        model = _model_of(self._names)
        if model is None:
            hint = "; cells are separated by commas" if re.search("[;\t]", self._names[0]) else ""
            wanted = "; ".join(f"{kind}s: {','.join(each.model_fields)}" for kind, each in KINDS.items())
            self._fault(number, f"this header is not one of {wanted}{hint}")
            return None
        wrong = [
            f"{model.kind}s have no column {shown(name)}; {unknown_field(name, model.model_fields)}"
            for name in self._names
            if name not in model.model_fields
        ]
        wrong += [f"column {name} is there twice" for name, count in Counter(self._names).items() if count > 1]
        if missing := [name for name in model.required() if name not in self._names]:
            wrong.append(f"{model.kind}s need a column {' and '.join(missing)}")
        for message in wrong:
            self._fault(number, message)
        return None if wrong else Source(self._path, model.kind, is_json=False)

    def _split(self, stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
        raw: list[str] = []
        reader = csv.reader(self._decoded(stream, raw), strict=True)
        while True:
            raw.clear()
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._fault(number, f"this is not CSV, look for a quote that is missing or too many: {error}")
                self._problems.rows_lost = True
                continue
            text = "".join(raw)
            if '"' in text and not RFC_4180_ROW.fullmatch(text.rstrip("\r\n")):
                self._fault(number, "a cell with quotes in it must begin and end with a quote")
            if cells:
                yield number, cells

    def _decoded(self, stream: BinaryIO, raw: list[str]) -> Iterator[str]:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                text = line.decode(errors="replace")
                self._fault(number, f"byte 0x{line[error.start]:02x} is not UTF-8")
            raw.append(text.removeprefix("\ufeff") if number == 1 else text)
            yield raw[-1]

    def _fault(self, number: int, message: str) -> None:
        if self.source is None:
            self._problems.of_file(self._path, message, line=number)
        else:
            self._problems.of_row(self.source, number, message)


def _model_of(names: list[str]) -> type[Row] | None:
    """The kind whose columns these are, or nearly: a misspelt one must not hide what the file is."""

    def known(model: type[Row]) -> int:
        return sum(bool(get_close_matches(name.strip().lower(), model.model_fields, n=1)) for name in names)

    best = max(KINDS.values(), key=lambda model: (known(model), -len(set(model.required()) - set(names))))
    return best if known(best) > 1 else None
