"""Another user who looks at the files of a directory at every moment: what he could read, had he been quick enough."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def seen_in(directory: Path) -> Iterator[set[tuple[str, int, int]]]:
    """Suffix, mode and group of each file that is ever there.

    He looks before and after each call that Python makes, so no state between two of them escapes him. The umask is 0:
    a mode is what the program asks for.
    """
    seen: set[tuple[str, int, int]] = set()

    def look(*_: object) -> None:
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                seen.add((Path(entry.name).suffix, status.st_mode & 0o7777, status.st_gid))

    umask = os.umask(0)
    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        os.umask(umask)
