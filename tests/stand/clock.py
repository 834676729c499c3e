"""A wall clock that can be set, for the daemons of one test; how time passes is left alone (libfaketime)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# The loader replaces $LIB (ld.so(8)) by Debian's directory of this architecture.
LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"
# Where each daemon leaves two files, named by its process ID, unless it comes to a quiet end.
SHARED = Path("/dev/shm")


def _left_behind() -> set[Path]:
    return {*SHARED.glob("faketime_shm_*"), *SHARED.glob("sem.faketime_sem_*")}


class WallClock:
    """A clock that is right until it is set; to be closed when its daemons have ended.

    Attributes:
        environment: for each daemon that is to go by it. PostgreSQL's user must be able to read its file.
    """

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "offset"
        self._there_before = _left_behind()
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",  # all see a change at once
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.shift(0)

    def shift(self, seconds: int) -> None:
        """Set it so many seconds off the right time: behind it, if negative."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}", encoding="ascii")
        new.replace(self._offset)  # whoever looks at the clock meanwhile finds the old text or the new one

    def close(self) -> None:
        """Remove what daemons that have ended left in shared memory, other than what was there before."""
        for file in _left_behind() - self._there_before:
            if not Path("/proc", file.name.rpartition("_")[2]).exists():
                with suppress(FileNotFoundError, PermissionError):  # another run's: removed there, or not ours to
                    file.unlink()
