"""Watches the files of a directory as another user of the machine could, to find out what he might have read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def seen_in(directory: Path) -> Iterator[set[tuple[str, int, int]]]:
    """Collect suffix, mode and group of every file that exists in the directory at some time.

    The directory is read before and after each call that Python makes, so that no state is missed. The umask is 0, so
    that a file's mode is the one that the program asked for.
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
