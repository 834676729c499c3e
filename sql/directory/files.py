"""The files of one import, one JSON or up to three CSV, as rows of the directory that remember where they stood."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

from sql.directory.csv_file import CsvFile
from sql.directory.json_file import JsonFile
from sql.directory.problems import WHOLE_FILE, Problems, place
from sql.directory.rows import Account, Device, Owner, Record
from sql.directory.rules import RowReader


class DirectoryFiles:
    """Opens the files and tells by what is in them which is which; closes them at the end of the ``with``.

    What is wrong with them is added to the problems, most of it while the rows are read. A CSV is read as a stream,
    so each kind of row can be asked for once; of JSON the text is held.
    """

    def __init__(self, paths: Sequence[str], problems: Problems) -> None:
        self.names: dict[str, str] = {}
        self._problems = problems
        self._csv: dict[str, CsvFile] = {}
        self._json: JsonFile | None = None
        self._streams = ExitStack()
        for path in paths:
            stream = self._open(path)
            if stream is not None:
                self._read(path, stream, alone=len(paths) == 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.close()

    def accounts(self) -> Iterator[Account]:
        """The accounts; none when no file has them."""
        return map(self._reader("account").account, self._records("account"))

    def owners(self) -> Iterator[Owner]:
        """The owners; none when no file has them."""
        return map(self._reader("owner").owner, self._records("owner"))

    def devices(self) -> Iterator[Device]:
        """The devices; none when no file has them."""
        return map(self._reader("device").device, self._records("device"))

    def _open(self, path: str) -> BufferedReader | None:
        try:
            return self._streams.enter_context(Path(path).open("rb"))
        except OSError as error:
            self._problems.add(path, WHOLE_FILE, (error.strerror or str(error)).lower())
            return None

    def _read(self, path: str, stream: BufferedReader, *, alone: bool) -> None:
        try:
            if _looks_like_json(path, stream):
                self._read_json(path, stream, alone=alone)
            else:
                self._read_csv(path, stream)
        except OSError as error:  # a directory can be opened, but not read
            self._problems.add(path, WHOLE_FILE, (error.strerror or str(error)).lower())

    def _read_json(self, path: str, stream: BufferedReader, *, alone: bool) -> None:
        if not alone:
            self._problems.add(path, WHOLE_FILE, "a JSON file holds the whole directory: import it alone")
            return
        self._json = JsonFile(path, stream, self._problems)
        self.names = dict.fromkeys(self._json.kinds, path)

    def _read_csv(self, path: str, stream: BufferedReader) -> None:
        file = CsvFile(path, stream, self._problems)
        if file.kind is None:
            return
        if file.kind in self._csv:
            message = f"this is a second file of {file.kind}s, the first is {self.names[file.kind]}"
            self._problems.add(path, place(1, 1), message)
            return
        self._csv[file.kind] = file
        self.names[file.kind] = path

    def _reader(self, kind: str) -> RowReader:
        return RowReader(self.names.get(kind, ""), self._problems, flags_are_words=self._json is None)

    def _records(self, kind: str) -> Iterator[Record]:
        if kind not in self.names:
            return iter(())
        return self._csv[kind].records() if self._json is None else self._json.records(kind)


def _looks_like_json(path: str, stream: BufferedReader) -> bool:
    if path.lower().endswith(".json"):
        return True
    # BufferedReader's peek, which leaves what it saw to be read: a pipe cannot be wound back.
    start: bytes = stream.peek(64)
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}
