"""A kamailio.cfg on disk and registrations.cfg beside it: read, checked by Kamailio itself, replaced in one step."""

import difflib
import errno
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from kamailio.patch import INCLUDE

CHECK_SECONDS = 30.0
ACL = "system.posix_acl_access"
# Bytes that are no UTF-8 are kept as they are.
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


class NotWritten(Exception):
    """The file is as it was; the message says why."""


@dataclass(frozen=True)
class Edit:
    """What is to become of one file: `after` None removes it, `before` None makes it."""

    path: Path
    before: str | None
    after: str | None

    def diff(self) -> str:
        """The change as a unified diff; empty when there is none."""
        before, after = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        lines = difflib.unified_diff(before, after, str(self.path), str(self.path))
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def read(path: Path) -> str | None:
    """The file's text, line ends as they are; None when there is no such file."""
    try:
        return path.read_bytes().decode(**ENCODING)
    except FileNotFoundError:
        return None


def include() -> str:
    """The registrations.cfg of this version."""
    return files("kamailio").joinpath(INCLUDE).read_text(encoding="utf-8")


def defines_of_include() -> frozenset[str]:
    """Names of the values that registrations.cfg asks for."""
    names = re.findall(r"^#!(?:ifn?def|trydefenvs?) ((?:KAMAILIO|REGISTRATIONS)_\w+)", include(), re.MULTILINE)
    return frozenset(names)


def accepted(text: str, path: Path) -> None:
    """Have Kamailio check the text as if it stood at `path`.

    Raises:
        NotWritten: Kamailio refuses it, with its own words; or Kamailio is not installed.
    """
    program = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise NotWritten("there is no program kamailio to check the result with; --no-check leaves that out")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".check") as checked:
        checked.write(text.encode(**ENCODING))
        checked.flush()
        command = [program, "-c", "-f", checked.name]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_SECONDS)  # noqa: S603  # the operator's own
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if "ERROR" in line or "CRITICAL" in line]
        raise NotWritten(
            "Kamailio would not start with the result, so nothing was changed (values from /etc/default/kamailio must "
            "be in this environment, too; --no-check leaves the check out):\n"
            + "\n".join(said or [result.stderr.strip()])
        )


def replace(path: Path, text: str, *, like: Path) -> None:
    """Make or replace a file in one step, with the owner, the mode and the ACL of `like`; a link stays a link."""
    _write(path.resolve(), text.encode(**ENCODING), like=like)


def back_up(path: Path) -> Path:
    """Copy the file to a name beside it that has the time, with its owner, mode and ACL, and return that."""
    target = path.resolve()
    copy = target.with_name(f"{target.name}.{datetime.now():%Y%m%d-%H%M%S-%f}.bak")
    _write(copy, target.read_bytes(), like=target)
    return copy


def _write(path: Path, content: bytes, *, like: Path) -> None:
    # There are passwords in it, so nobody is ever to read it who may not read `like`: not even for an instant.
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as made:  # its mode is 0600
        try:
            made.write(content)
            made.flush()
            _let_the_same_read(made.fileno(), like)
            os.fsync(made.fileno())
            Path(made.name).replace(path)
        except BaseException:
            Path(made.name).unlink(missing_ok=True)
            raise


def _let_the_same_read(descriptor: int, like: Path) -> None:
    status, acl = like.stat(), _acl(like)
    os.fchown(descriptor, status.st_uid, status.st_gid)  # before the mode, which would let a group of ours read
    if acl is not None:
        os.setxattr(descriptor, ACL, acl)
    elif _acl(descriptor) is not None:  # it comes from the directory's default
        os.removexattr(descriptor, ACL)
    os.fchmod(descriptor, status.st_mode & 0o7777)


def _acl(file: Path | int) -> bytes | None:
    try:
        return os.getxattr(file, ACL)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
