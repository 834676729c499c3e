"""A wall clock that a test can set for its daemons (libfaketime). The monotonic clock stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# The loader replaces $LIB by Debian's library directory for this architecture (ld.so(8)).
LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"
# A daemon that is killed leaves two files here, named by its process ID.
SHARED = Path("/dev/shm")


def _left_behind() -> set[Path]:
    return {*SHARED.glob("faketime_shm_*"), *SHARED.glob("sem.faketime_sem_*")}


class WallClock:
    """A clock that shows the real time until it is set. Close it after its daemons have ended.

    Attributes:
        environment: variables for each daemon that uses this clock. PostgreSQL's user must be able to read its file.
    """

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "offset"
        self._there_before = _left_behind()
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",  # every process sees a change at once
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.shift(0)

    def shift(self, seconds: int) -> None:
        """Set the clock ahead of the real time by this many seconds, or behind it if negative."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}", encoding="ascii")
        new.replace(self._offset)  # atomic: a process that reads the clock now sees the old offset or the new one

    def close(self) -> None:
        """Remove the shared memory that ended daemons left, but not what was there before."""
        for file in _left_behind() - self._there_before:
            if not Path("/proc", file.name.rpartition("_")[2]).exists():
                with suppress(FileNotFoundError, PermissionError):  # the file of another test run
                    file.unlink()
