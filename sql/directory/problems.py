"""What is wrong with the files of an import, and where: collected, so that the operator mends all of it at once."""

import json
from bisect import insort

from sql.errors import DirectoryRefused

SHOWN_PROBLEMS = 50
SHOWN_CHARACTERS = 70

# Line and column in one number, as the temporary tables hold it: places of one file sort as they stand in it.
Place = int
WHOLE_FILE: Place = 0


def place(line: int, column: int) -> Place:
    """Pack a line and a column, both counted from 1; a column is a character, not a byte."""
    return line << 32 | column


def located(file: str, at: Place) -> str:
    """Write a place as compilers do, FILE:LINE:COLUMN; only FILE for `WHOLE_FILE`."""
    return file if at == WHOLE_FILE else f"{file}:{at >> 32}:{at & 0xFFFFFFFF}"


def shown(value: str) -> str:
    """Quote a value for a message; control characters become escapes, so that a message stays one line."""
    text = value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 1] + "…"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in quoted)


def json_type(value: object) -> str:
    """Name the type of what the json module decoded, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "text", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names[type(value)]


class Problems:
    """Collects problems; the first one at a place stands for what follows from it there."""

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}
        self._seen: set[tuple[int, Place]] = set()
        self._kept: list[tuple[int, Place, str]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, file: str, at: Place, message: str) -> None:
        """Note one problem; all are counted, the texts of those that stand first in the files are kept."""
        key = (self._ranks.setdefault(file, len(self._ranks)), at)
        if key in self._seen:
            return
        self._seen.add(key)
        if len(self._kept) < SHOWN_PROBLEMS or key < self._kept[-1][:2]:
            insort(self._kept, (*key, f"{located(file, at)}: {message}"))
            del self._kept[SHOWN_PROBLEMS:]

    def refuse_any(self) -> None:
        """Raise what was collected.

        Raises:
            DirectoryRefused: there is a problem; they are sorted by file, line and column.
        """
        if not self._seen:
            return
        lines = [message for _, _, message in self._kept]
        if len(self._seen) > len(lines):
            lines.append(f"and {len(self._seen) - len(lines):,} more")
        raise DirectoryRefused(lines)
