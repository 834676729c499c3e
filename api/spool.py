"""A body that is written before it is sent: in memory while it is small, then in a file that nobody else sees."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from flask import Response

MEMORY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16


class Spool:
    """Collects text and becomes a response of known length. As a context manager it is dropped when the writing fails.

    A large response closes the file when it is sent or given up.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # outlives the block
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._file.close()

    def write(self, text: str) -> int:
        """Add text, which goes out as UTF-8; returns its bytes, as a file does."""
        written = self._file.write(text.encode())
        self._length += written
        return written

    def respond(self, *, content_type: str) -> Response:
        """A 200 with all that was written."""
        self._file.seek(0)
        if self._length <= MEMORY_BYTES:
            with self._file:
                return Response(self._file.read(), content_type=content_type)
        response = Response(self._chunks(), content_type=content_type)
        response.content_length = self._length
        response.call_on_close(self._file.close)
        return response

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk
