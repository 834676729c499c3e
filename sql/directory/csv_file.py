"""Reading CSV (RFC 4180, UTF-8) as a stream of records that know where each cell stood.

The csv module of Python tells the last line of a row only, so the cells are taken apart here.
"""

from collections.abc import Iterator
from typing import BinaryIO

from sql.directory.problems import Place, Problems, place, shown
from sql.directory.rows import FIELDS, KINDS, REQUIRED, Record, unknown_field

Row = tuple[list[str], list[Place]]


class CsvFile:
    """A file of accounts, owners or devices; its header tells which, in `kind`.

    Raises nothing: what is wrong becomes a problem, and `kind` is None when the header tells nothing.
    """

    def __init__(self, name: str, stream: BinaryIO, problems: Problems) -> None:
        self.name = name
        self.kind: str | None = None
        self._problems = problems
        self._line_number = 0
        self._lines = self._decoded(stream)
        self._rows = self._split()
        self._header: list[str] = []
        header = next(self._rows, None)
        if header is None:
            problems.add(name, place(1, 1), "the file is empty; it must begin with a header line")
        else:
            self._read_header(*header)

    def records(self) -> Iterator[Record]:
        """The rows below the header, once; a row's missing cells are empty."""
        header, width = self._header, len(self._header)
        for cells, places in self._rows:
            if len(cells) != width:
                self._even_out(cells, places)
            yield Record(places[0], dict(zip(header, cells, strict=False)), dict(zip(header, places, strict=False)))

    def _read_header(self, names: list[str], places: list[Place]) -> None:
        kind = _kind_of(names)
        if kind is None:
            hint = ""
            if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
                hint = "; cells are separated by commas"
            wanted = "; ".join(f"{each}s: {','.join(FIELDS[each])}" for each in KINDS)
            self._problems.add(self.name, places[0], f"this header is not one of {wanted}{hint}")
            return
        for index, (name, at) in enumerate(zip(names, places, strict=True)):
            if name not in FIELDS[kind]:
                hint = unknown_field(name, FIELDS[kind])
                self._problems.add(self.name, at, f"{kind}s have no column {shown(name)}; {hint}")
            elif name in names[:index]:
                self._problems.add(self.name, at, f"column {name} is there twice")
        missing = [name for name in REQUIRED[kind] if name not in names]
        if missing:
            end = places[-1] + len(names[-1])
            self._problems.add(self.name, end, f"{kind}s need a column {' and '.join(missing)}")
        self.kind, self._header = kind, names

    def _even_out(self, cells: list[str], places: list[Place]) -> None:
        width = len(self._header)
        at = places[width] if len(cells) > width else places[-1] + len(cells[-1])
        self._problems.add(self.name, at, f"the row has {len(cells)} cells, the header {width}")
        cells.extend([""] * (width - len(cells)))
        places.extend([at] * (width - len(places)))

    def _decoded(self, stream: BinaryIO) -> Iterator[str]:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                text = line.decode(errors="replace")
                column = len(line[: error.start].decode()) + 1
                self._problems.add(self.name, place(number, column), f"byte 0x{line[error.start]:02x} is not UTF-8")
            self._line_number = number
            yield text.removeprefix("\ufeff") if number == 1 else text

    def _split(self) -> Iterator[Row]:
        for line in self._lines:
            at = place(self._line_number, 1)
            if '"' in line:
                yield self._split_quoted(line)
                continue
            text = line.rstrip("\r\n")
            if not text:
                continue
            cells = text.split(",")
            places = []
            for cell in cells:
                places.append(at)
                at += len(cell) + 1
            yield cells, places

    def _split_quoted(self, line: str) -> Row:
        cells: list[str] = []
        places: list[Place] = []
        position = 0
        while True:
            at = place(self._line_number, position + 1)
            places.append(at)
            if line.startswith('"', position):
                cell, line, position = self._quoted_cell(line, position + 1, at)
            else:
                cell, position = _plain_cell(line, position)
                if '"' in cell:
                    self._problems.add(self.name, at, "a cell with quotes in it must begin and end with a quote")
            cells.append(cell)
            rest, position = _plain_cell(line, position)
            if rest:
                at = place(self._line_number, position - len(rest) + 1)
                self._problems.add(self.name, at, "text after the closing quote; a quote within a cell is doubled")
            if line[position : position + 1] != ",":
                return cells, places
            position += 1

    def _quoted_cell(self, line: str, position: int, at: Place) -> tuple[str, str, int]:
        parts = []
        while True:
            end = line.find('"', position)
            if end >= 0:
                parts.append(line[position:end])
                if line[end + 1 : end + 2] != '"':
                    return "".join(parts), line, end + 1
                parts.append('"')
                position = end + 2
                continue
            parts.append(line[position:])
            following = next(self._lines, None)
            if following is None:
                self._problems.add(self.name, at, "the quote that begins here is never closed")
                return "", "", 0
            line, position = following, 0


def _plain_cell(line: str, position: int) -> tuple[str, int]:
    end = line.find(",", position)
    if end < 0:
        end = max(position, len(line.rstrip("\r\n")))
    return line[position:end], end


def _kind_of(names: list[str]) -> str | None:
    """The kind whose columns these are, or nearly: a misspelt one must not hide what the file is."""

    def cost(kind: str) -> tuple[int, int]:
        unknown = [name for name in names if name not in FIELDS[kind]]
        misspelt = [name for name in unknown if unknown_field(name, FIELDS[kind]).startswith("did")]
        missing = [name for name in REQUIRED[kind] if name not in names]
        return len(unknown) - len(misspelt) + max(0, len(missing) - len(misspelt)), len(unknown) + len(missing)

    best = min(KINDS, key=cost)
    known = sum(name in FIELDS[best] for name in names)
    return best if known >= 2 or names == ["id"] else None
