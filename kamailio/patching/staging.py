"""Hidden files beside a target, complete and on disk before a rename puts them in its place.

Owns their permissions, and removes them when the program ends.
"""

import errno
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SUFFIX = ".registrations"
ACL = "system.posix_acl_access"
# Bytes that are not UTF-8 survive reading and writing.
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Block the signals that end the program until the context exits."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stage(target: Path, text: str, *, like: Path, staged: ExitStack, beside: Path | None = None) -> Path:
    """Write a hidden file with the owner, mode and ACL of `like`, and return its path.

    The text contains passwords, so at no moment can anyone read the file who may not read `like`.

    Args:
        target: the file that it replaces later.
        text: its content.
        like: the file whose permissions it gets.
        staged: removes the file on exit.
        beside: a file in the directory to use; by default the target.
    """
    directory = beside.parent if beside else target.resolve().parent
    with uninterrupted():
        made = tempfile.NamedTemporaryFile(dir=directory, prefix=f".{target.name}.", suffix=SUFFIX, delete=False)  # noqa: SIM115
        path = Path(made.name)  # its mode is 0600
        staged.callback(path.unlink, missing_ok=True)
    with made:
        made.write(text.encode(**ENCODING))
        made.flush()
        _let_the_same_read(made.fileno(), like)
        os.fsync(made.fileno())
    return path


def _let_the_same_read(descriptor: int, like: Path) -> None:
    status, acl = like.stat(), _acl(like)
    os.fchown(descriptor, status.st_uid, status.st_gid)  # before the mode, or our own group could read it
    if acl is not None:
        os.setxattr(descriptor, ACL, acl)
    elif _acl(descriptor) is not None:  # the directory's default ACL
        os.removexattr(descriptor, ACL)
    os.fchmod(descriptor, status.st_mode & 0o7777)


def _acl(file: Path | int) -> bytes | None:
    try:
        return os.getxattr(file, ACL)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
