"""Replaces kamailio.cfg and registrations.cfg in one transaction, after Kamailio itself has checked the result.

Owns the order of the renames, the lock against a second run, and the rollback after a failure.
"""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kamailio.patching.edits import INTERIM
from kamailio.patching.file import LOADS, Edit, Edits, NotWritten, include
from kamailio.patching.staging import ENDING, SUFFIX, stage, uninterrupted

CHECK_SECONDS = 30.0


def write(edits: Edits, *, check: bool) -> list[str]:
    """Write both files or neither, and keep copies of the old ones beside them.

    After an error or a signal both files are as before. Even SIGKILL leaves two files that work together: both old,
    both new, or a new kamailio.cfg that loads the new include as `INTERIM`. It may also leave hidden files, which the
    next run removes.

    Args:
        edits: of both files.
        check: whether to run `kamailio -c` on the result first.

    Returns:
        Lines for the operator.

    Raises:
        NotWritten: Kamailio would not start with the result, or another run holds the lock.
        OSError: a write failed.
    """
    with _alone(edits.configuration.path.parent), _as_exceptions(), ExitStack() as staged:
        for directory in {each.path.resolve().parent for each in (edits.configuration, edits.included)}:
            for left in directory.glob(f".*{SUFFIX}"):
                left.unlink()
        if check:
            _ask_kamailio(edits, staged)
        steps = _Steps(edits, staged)
        with uninterrupted():
            steps.take()
        return steps.told


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise NotWritten(f"another patch in {directory} is running") from error
    finally:
        os.close(descriptor)


@contextmanager
def _as_exceptions() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that the program cleans up before it ends."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ask_kamailio(edits: Edits, staged: ExitStack) -> None:
    """Run `kamailio -c` on staged copies of the result."""
    program = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise NotWritten("cannot check the result: there is no program kamailio; --no-check skips the check")
    text, like = edits.configuration.after, edits.configuration.path
    assert text is not None  # noqa: S101  # no edit removes kamailio.cfg
    if edits.included.after is not None:
        # Kamailio looks for an include beside the file that includes it, so give it the full path of the copy.
        included = stage(edits.included.path, edits.included.after, like=like, staged=staged)
        text = LOADS.sub(lambda _: f'include_file "{included}"', text)
    checked = stage(like, text, like=like, staged=staged, beside=like)
    command = [program, "-c", "-f", str(checked)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_SECONDS)  # noqa: S603  # the operator's own
    except subprocess.TimeoutExpired as error:
        raise NotWritten(
            f"`kamailio -c` did not end within {CHECK_SECONDS:g} seconds, so nothing was changed"
        ) from error
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if "ERROR" in line or "CRITICAL" in line]
        raise NotWritten(
            "Kamailio would not start with the result, so nothing was changed. This environment needs the values of "
            "/etc/default/kamailio, too; --no-check skips the check:\n" + "\n".join(said or [result.stderr.strip()])
        )


class _Steps:
    """The renames and removals, in order. All new files are on disk before the first one, and each can be reverted."""

    def __init__(self, edits: Edits, staged: ExitStack) -> None:
        self.told: list[str] = []
        self._staged = staged
        self._like = edits.configuration.path
        self._steps: list[tuple[Path, Path | None, Path | None]] = []  # target, new file, old file
        configuration, included, interim = edits
        for edit in (included, configuration):
            if edit.changes and edit.before is not None and (edit is configuration or edit.before != include()):
                self._keep(edit)
        for edit in _in_order(configuration, included, interim):
            if edit.changes:
                target = edit.path.resolve()
                self._steps.append((target, self._staged_as(edit, edit.after), self._staged_as(edit, edit.before)))

    def _staged_as(self, edit: Edit, text: str | None) -> Path | None:
        like = edit.path if text == edit.before and edit.path.exists() else self._like
        return None if text is None else stage(edit.path, text, like=like, staged=self._staged)

    def _keep(self, edit: Edit) -> None:
        target = edit.path.resolve()
        copy = target.with_name(f"{target.name}.{datetime.now():%Y%m%d-%H%M%S-%f}.bak")
        self._steps.append((copy, self._staged_as(edit, edit.before), None))
        done = "written" if edit.after is not None else "removed"
        self.told.append(f"{edit.path} is {done}; its old content is in {copy}")

    def take(self) -> None:
        """Take every step. If one fails, revert the steps before it."""
        taken: list[tuple[Path, Path | None]] = []
        try:
            for target, new, old in self._steps:
                taken.append((target, old))
                _become(target, new)
            for directory in {target.parent for target, _, _ in self._steps}:
                _to_disk(directory)
            if signal.sigpending() & set(ENDING):
                raise InterruptedError("interrupted")
        except BaseException:
            for target, old in reversed(taken):
                _become(target, old)
            raise


def _in_order(configuration: Edit, included: Edit, interim: Edit) -> Iterable[Edit]:
    before, after = configuration.before or "", configuration.after or ""
    if included.after is None:
        return configuration, included, interim
    if not (included.changes and configuration.changes and LOADS.search(before)):
        return included, configuration, interim
    # An old and a new file do not work together, so kamailio.cfg loads the new include as INTERIM until both are new.
    meanwhile = LOADS.sub(f'include_file "{INTERIM}"', after)
    return (
        replace(interim, after=included.after),
        replace(configuration, after=meanwhile),
        included,
        replace(configuration, before=meanwhile),
        replace(interim, before=included.after),
    )


def _become(target: Path, what: Path | None) -> None:
    if what is None:
        target.unlink(missing_ok=True)
    else:
        what.replace(target)


def _to_disk(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
