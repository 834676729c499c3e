"""The files that `patch` edits: an operator's kamailio.cfg, and registrations.cfg beside it.

Owns reading them and what becomes of each. `kamailio.patching.writing` writes them.
"""

import difflib
import os
import re
import stat
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from kamailio.patching.edits import INCLUDE
from kamailio.patching.staging import ENCODING
from kamailio.patching.values import OWN_VALUES

LOADS = re.compile(rf'^include_file "{re.escape(INCLUDE)}"', re.MULTILINE)


class NotWritten(Exception):
    """We left the files as they were; the message says why."""


@dataclass(frozen=True)
class Edit:
    """The edit of one file: `before` None creates the file, `after` None removes it."""

    path: Path
    before: str | None
    after: str | None

    @property
    def changes(self) -> bool:
        """Whether the edit changes the file."""
        return self.before != self.after

    def diff(self) -> str:
        """Return the change as a unified diff; empty if nothing changes."""
        before, after = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        lines = difflib.unified_diff(before, after, str(self.path), str(self.path))
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


class Edits(NamedTuple):
    """The edits of kamailio.cfg, of registrations.cfg beside it, and of `INTERIM`, which a killed run leaves behind."""

    configuration: Edit
    included: Edit
    interim: Edit


def read(path: Path) -> str | None:
    """Return the file's text with its own line ends; None if the file does not exist.

    Raises:
        NotWritten: it is not a regular file. Reading a FIFO could block forever.
        OSError: the read failed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotWritten(f"{path} is not a regular file")
        return file.read().decode(**ENCODING)


def read_included(path: Path) -> str | None:
    """Read a file that a configuration includes; None if that fails, because `kamailio -c` reports it."""
    try:
        return read(path)
    except (NotWritten, OSError):
        return None


def other_loaders(file: Path) -> list[Path]:
    """Return other configurations beside `file` that load the same registrations.cfg: of other Kamailios here."""
    beside = sorted(file.parent.glob("*.cfg"))
    return [each for each in beside if each != file and LOADS.search(read_included(each) or "")]


def include() -> str:
    """Return this version's registrations.cfg."""
    return files("kamailio").joinpath(INCLUDE).read_text(encoding="utf-8")


def defines_of_include() -> frozenset[str]:
    """Return the names of the values that registrations.cfg takes."""
    names = re.findall(r"^#!(?:ifn?def|trydefenvs?) ((?:KAMAILIO|REGISTRATIONS)_\w+)", include(), re.MULTILINE)
    return frozenset(names) - frozenset(OWN_VALUES.values())
