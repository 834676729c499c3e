"""A response on its way out: what the client does not read yet is buffered, so that no thread waits for the client."""

import logging
import socket
from tempfile import SpooledTemporaryFile
from typing import Any

MEMORY_BYTES = 1 << 16
SEND_BYTES = 1 << 16

log = logging.getLogger(__name__)


class Outgoing:
    """The socket of a connection, for gunicorn: sending waits no longer than `settimeout` allowed for this response.

    The rest is in memory, or in an unlinked temporary file, until `send_left` has sent it.
    """

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._left: SpooledTemporaryFile[bytes] | None = None
        self._sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def setblocking(self, flag: bool) -> None:  # noqa: ARG002  # gunicorn's threads would wait
        """Never block, whatever gunicorn asks: a thread has nothing to read, and what it sends is buffered."""
        self._client.setblocking(False)

    @property
    def has_left(self) -> bool:
        """Whether something is still to be sent."""
        return self._left is not None

    def sendall(self, data: bytes) -> None:
        """Send what the client takes now and buffer the rest.

        Raises:
            OSError: the connection is gone, or the rest cannot be buffered.
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

    def send_left(self) -> bool:
        """Send some of the rest; returns whether that was all.

        Raises:
            BlockingIOError: the client takes nothing at the moment.
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
        """Drop the rest."""
        if self._left is not None:
            try:
                self._left.close()
            except OSError as error:
                log.debug("temporary file", extra={"cause": str(error)})
        self._left, self._sent = None, 0

    def close(self) -> None:
        """Close the connection and drop the rest."""
        self.forget_left()
        self._client.close()
