"""JSON-RPC by FIFOs, as kamctl does it: the request into Kamailio's, the answer into one that the request names.

The server is modules/jsonrpcs, jsonrpcs_fifo.c.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import select
import stat
from pathlib import Path
from urllib.parse import parse_qs

from kamailio.errors import KamailioUnreachable, NotCarried
from kamailio.transports.base import Answer, Request, reason, remaining

# A write of this size is atomic (pipe(7)): other clients write into the same FIFO. jsonrpcs would take 8,190.
REQUEST_LIMIT = select.PIPE_BUF
REPLY_DIRECTORY = "/tmp"  # noqa: S108 - default of jsonrpcs' fifo_reply_dir
NOBODY_READS = "no Kamailio reads it"


class FifoTransport:
    """One request at a time, each with its own reply FIFO, so that no answer is mistaken for another.

    Nobody waits forever: we open everything without blocking, and the reply FIFO before we write the request.
    """

    window = 1

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition(":")
        path, _, query = rest.partition("?")
        options = parse_qs(query, keep_blank_values=True)
        directory = options.pop("reply_dir", [REPLY_DIRECTORY])[-1]
        if scheme != "fifo" or not path.startswith("/") or not path.strip("/") or options or directory[:1] != "/":
            raise ValueError(f"not fifo:/path or fifo:/path?reply_dir=/directory/: {url!r}")
        self.url = url
        self.path = Path(path)
        self.reply_directory = Path(directory)
        self._reply: tuple[Path, int] | None = None  # path and descriptor

    def send(self, request: Request, *, deadline: float) -> None:
        """Make a reply FIFO and write the request. See `Transport.send`."""
        self.close()
        name = f"registrations_{secrets.token_hex(8)}"  # jsonrpcs refuses one with "." or "/"
        # jsonrpcs takes a quote after any backslash as escaped, even after an escaped backslash.
        document = request.encode(reply_name=name).replace(rb"\\", rb"\u005c") + b"\n"
        if len(document) > REQUEST_LIMIT:
            raise NotCarried(self.url, f"{len(document)} bytes, of at most {REQUEST_LIMIT}", request.method)
        try:
            with contextlib.ExitStack() as stack:
                writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                stack.callback(os.close, writer)
                if not stat.S_ISFIFO(os.fstat(writer).st_mode):
                    raise KamailioUnreachable(self.url, "it is not a FIFO")
                self._open_reply(self.reply_directory / name)
                _write(writer, document, deadline)
        except OSError as error:
            self.close()
            said = NOBODY_READS if error.errno in (errno.ENXIO, errno.EPIPE) else reason(error)
            raise KamailioUnreachable(self.url, said) from error

    def receive(self, *, deadline: float) -> Answer:
        """Read until Kamailio closes its end. See `Transport.receive`."""
        if self._reply is None:
            raise KamailioUnreachable(self.url, "nothing was sent")
        descriptor = self._reply[1]
        answer = bytearray()
        try:
            while _ready(descriptor, select.POLLIN, deadline) and (part := os.read(descriptor, 65536)):
                answer += part
        except OSError as error:
            raise KamailioUnreachable(self.url, reason(error)) from error
        finally:
            self.close()
        if not answer:
            raise KamailioUnreachable(self.url, "it ended without an answer")
        return Answer(bytes(answer))

    def close(self) -> None:
        """Remove the reply FIFO. See `Transport.close`."""
        if self._reply is not None:
            path, descriptor = self._reply
            self._reply = None
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def _open_reply(self, path: Path) -> None:
        if path.parent.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            # Whoever reads Kamailio's answer in a FIFO of his own knows its id, and can forge an answer into ours.
            raise KamailioUnreachable(
                self.url, f"{path.parent} has no sticky bit, so any user could replace the FIFO of the answer"
            )
        os.mkfifo(path, 0o600)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            path.unlink()
            raise
        self._reply = path, descriptor
        # We do not know Kamailio's user: it may have made the request FIFO as root, before it changed users. So
        # everybody may write, as with kamctl. Only we may read, and only Kamailio knows the id of the request.
        os.fchmod(descriptor, 0o622)


def _write(descriptor: int, document: bytes, deadline: float) -> None:
    while True:
        _ready(descriptor, select.POLLOUT, deadline)
        with contextlib.suppress(BlockingIOError):  # another client was faster to fill it
            os.write(descriptor, document)
            return


def _ready(descriptor: int, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(math.ceil(remaining(deadline) * 1000)):
        raise TimeoutError
    return True
