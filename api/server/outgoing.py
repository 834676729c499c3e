"""An answer on its way out: what its client does not take is kept, so that no thread waits for that."""

import logging
import socket
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

MEMORY_BYTES = 1 << 16
SEND_BYTES = 1 << 16

log = logging.getLogger(__name__)


class Outgoing:
    """The socket of a connection, for gunicorn: to send waits no longer than `settimeout` said for this answer.

    What is left then is in memory, or in a file that nobody else sees, until `send_left` has sent it.
    """

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._left: SpooledTemporaryFile[bytes] | None = None
        self._sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def setblocking(self, flag: bool) -> None:  # noqa: ARG002  # gunicorn's threads would wait
        """Never wait, whatever gunicorn says; a thread has nothing to read, and what it sends is kept."""
        self._client.setblocking(False)

    @property
    def has_left(self) -> bool:
        """Whether there is something to send still."""
        return self._left is not None

    def sendall(self, data: bytes) -> None:
        """Send what the client takes and keep the rest.

        Raises:
            OSError: the connection is gone, or what is left finds no place.
        """
        rest = memoryview(data)
        try:
            while rest and self._left is None:
                rest = rest[self._client.send(rest) :]
        except (BlockingIOError, TimeoutError):
            self._left = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  # closed when it is sent
        if rest and self._left is not None:
            try:
                self._left.write(rest)
            except OSError as error:
                log.error("answer broken off", extra={"action": "error", "cause": f"temporary file: {error}"})
                raise ConnectionResetError(*error.args) from error

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:
        """As a socket's, but as `sendall` does it."""
        file.seek(offset)
        sent = 0
        while data := file.read(SEND_BYTES if count is None else min(SEND_BYTES, count - sent)):
            self.sendall(data)
            sent += len(data)
        return sent

    def send_left(self) -> bool:
        """Send some of what is left; returns whether that was all.

        Raises:
            BlockingIOError: the client takes nothing now.
            OSError: the connection is gone.
        """
        assert self._left is not None  # noqa: S101  # see `has_left`
        self._left.seek(self._sent)
        data = self._left.read(SEND_BYTES)
        if data:
            self._sent += self._client.send(data)
            return False
        self.forget_left()
        return True

    def forget_left(self) -> None:
        """Keep nothing any more."""
        if self._left is not None:
            try:
                self._left.close()
            except OSError as error:
                log.debug("temporary file", extra={"cause": str(error)})
        self._left, self._sent = None, 0

    def close(self) -> None:
        """Close the connection, and keep nothing."""
        self.forget_left()
        self._client.close()
