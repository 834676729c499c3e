"""The files of one import, one JSON or up to three CSV, as numbered rows of values that no rule has checked yet."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sql.directory.columns import KINDS, TWICE, unknown_field
from sql.directory.csv_file import CsvFile
from sql.directory.problems import Problems, Source, shown

SECTIONS = {f"{kind}s": kind for kind in KINDS}


class DirectoryFiles:
    """Opens the files and tells by their content which is which; closes them at the end of the ``with``.

    What is wrong with a file becomes a problem at once, what is wrong with a row when it is read. CSV is read as a
    stream, and may come from a pipe. JSON is held in memory.
    """

    def __init__(self, paths: Sequence[str], problems: Problems) -> None:
        self.sources: dict[str, Source] = {}
        self._rows: dict[str, Iterator[tuple[int, Any]]] = {}
        self._problems = problems
        self._streams = ExitStack()
        for path in paths:
            try:
                stream = Path(path).open("rb")  # noqa: SIM115  # closed by the stack
                self._streams.enter_context(stream)
                if not _looks_like_json(path, stream):
                    self._read_csv(path, stream)
                elif len(paths) == 1:
                    self._read_json(path, stream)
                else:
                    problems.of_file(path, "a JSON file holds the whole directory: import it alone")
            except OSError as error:  # a directory can be opened, but not read
                problems.of_file(path, (error.strerror or str(error)).lower())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.close()

    def rows(self, kind: str) -> Iterator[tuple[int, dict[str, object]]]:
        """The rows of one kind, once, each with its number; none when no file has them."""
        for number, values in self._rows.get(kind, ()):
            if isinstance(values, dict):
                yield number, values
            else:
                self._problems.of_row(self.sources[kind], number, f"must be an object, the {kind}")
                self._problems.rows_lost = True

    def _read_csv(self, path: str, stream: BufferedReader) -> None:
        file = CsvFile(path, stream, self._problems)
        if file.source is None:
            return
        if first := self.sources.get(file.source.kind):
            self._problems.of_file(path, f"this is a second file of {first.kind}s, the first is {first.file}")
            return
        self._add(file.source, file.rows())

    def _read_json(self, path: str, stream: BufferedReader) -> None:
        try:
            # As float, a number of any length is read; no field is one.
            document = json.loads(stream.read().decode("utf-8-sig"), object_pairs_hook=_object, parse_int=float)
        except UnicodeDecodeError as error:
            message = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
            return self._problems.of_file(path, message, line=error.object.count(b"\n", 0, error.start) + 1)
        except json.JSONDecodeError as error:
            return self._problems.of_file(path, f"this is not JSON: {error}")
        except RecursionError:
            return self._problems.of_file(path, "arrays and objects are nested too deeply")
        if not isinstance(document, dict):
            return self._problems.of_file(path, f"must be an object with {', '.join(SECTIONS)}")
        for name, rows in document.items():
            if name not in SECTIONS:
                self._problems.of_file(path, f"there is no {shown(name)}; {unknown_field(name, SECTIONS)}")
            elif rows is TWICE:
                self._problems.of_file(path, f"{name} is there twice")
            elif not isinstance(rows, list):
                self._problems.of_file(path, f"{name} must be an array")
            else:
                self._add(Source(path, SECTIONS[name], is_json=True), enumerate(rows))
        return None

    def _add(self, source: Source, rows: Iterator[tuple[int, Any]]) -> None:
        self.sources[source.kind] = source
        self._rows[source.kind] = rows


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; the value of a key that it has twice is TWICE."""
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        values |= {name: TWICE for name in values if counts[name] > 1}
    return values


def _looks_like_json(path: str, stream: BufferedReader) -> bool:
    if path.lower().endswith(".json"):
        return True
    # peek leaves what it saw to be read: a pipe cannot be wound back.
    start: bytes = stream.peek(64)
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}
