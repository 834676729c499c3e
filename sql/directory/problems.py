"""What is wrong with the files of an import, collected so that the operator learns all of it at once."""

import json
from bisect import insort
from typing import NamedTuple

from sql.directory.columns import KINDS
from sql.errors import DirectoryRefused

SHOWN_PROBLEMS = 50
SHOWN_CHARACTERS = 70
WHOLE_FILE = -1


class Source(NamedTuple):
    """The file that has the rows of one kind. A row's number is its line in CSV, its index in JSON's array."""

    file: str
    kind: str
    is_json: bool

    def place(self, number: int, field: str = "") -> str:
        """Where a row, or a field of it, is: ``accounts.csv line 17: realm`` or ``d.json: accounts[17].realm``."""
        if not field.isidentifier() or len(field) > SHOWN_CHARACTERS:
            field = field and shown(field)
        if self.is_json:
            return f"{self.file}: {self.kind}s[{number}]" + (f".{field}" if field else "")
        return f"{self.file} line {number}" + (f": {field}" if field else "")


class Problems:
    """Collects problems. Of one field, and of a row as a whole, the first problem stands for what follows from it."""

    def __init__(self) -> None:
        self._seen = set[tuple[int, int, str]]()
        self._kept: list[tuple[int, int, int, str]] = []
        self.rows_lost = False  # a row could not be read at all

    def of_file(self, file: str, message: str, *, line: int | None = None) -> None:
        """Note what is wrong with a file as a whole, or with a line of it that is no row."""
        place = file if line is None else f"{file} line {line}"
        self._keep((WHOLE_FILE, len(self._seen), ""), 0, f"{place}: {message}")

    def of_row(self, source: Source, number: int, message: str, *, field: str = "") -> None:
        """Note what is wrong with a row, or with a field of it."""
        kind = KINDS[source.kind]
        rank = list(KINDS).index(source.kind)
        if (rank, number, "") in self._seen:
            return
        order = list(kind.model_fields).index(field) if field in kind.model_fields else -1
        self._keep((rank, number, field), order, f"{source.place(number, field)}: {message}")

    def refuse_any(self) -> None:
        """Raise what was collected.

        Raises:
            DirectoryRefused: there is a problem; accounts, owners, devices, each in the order of its file.
        """
        if not self._seen:
            return
        lines = [message for *_, message in self._kept]
        if len(self._seen) > len(lines):
            lines.append(f"and {len(self._seen) - len(lines):,} more")
        raise DirectoryRefused(lines)

    def _keep(self, key: tuple[int, int, str], order: int, message: str) -> None:
        if key in self._seen:
            return
        self._seen.add(key)
        kept = (*key[:2], order, message)
        if len(self._kept) < SHOWN_PROBLEMS or kept < self._kept[-1]:
            insort(self._kept, kept)
            del self._kept[SHOWN_PROBLEMS:]


def shown(value: str) -> str:
    """Quote a value for a message; control characters become escapes, so that a message stays one line."""
    text = value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 1] + "…"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in quoted)
