"""Response bodies of any size in constant memory: a small one is complete before it is sent, a large one is streamed.

A small body is collected in memory, or in an unlinked temporary file. So an error part-way becomes an error response,
and the headers can have what is known only at the end, such as the entity tag. Of a large body only the beginning is
collected, so that the client gets its first byte soon. If a large one fails part-way, the server aborts the response
within the chunked body, so no client mistakes a partial list for a complete one (RFC 9112, 8).
"""

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, suppress
from itertools import chain
from socket import socket
from tempfile import SpooledTemporaryFile
from time import monotonic, thread_time

from flask import Response, g, request

from api.outgoing import Outgoing

# About 3,000 registrations, more than most lists have.
SMALL_BYTES = 3 << 20
MEMORY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
# PostgreSQL cannot vacuum what a query still reads. After a slow client has kept the query waiting for so long in all,
# the rest goes to a temporary file (`Outgoing`), and from there to the client.
PATIENCE_SECONDS = 1.0

log = logging.getLogger(__name__)

Pieces = Generator[bytes, None, None]


class SpoolFailed(Exception):
    """The temporary directory cannot be written: it is full, read-only, forbidden or gone, or a limit is reached."""


def respond(pieces: Pieces, *, content_type: str) -> tuple[Response, bool]:
    """Make a 200 of a body that comes in pieces.

    The body is always collected first for HEAD, for If-None-Match, and for HTTP/1.0, which cannot tell a partial
    response from a complete one.

    Returns:
        The response, and whether all pieces are read. If not, sending reads the others; they are closed in any case.

    Raises:
        SpoolFailed: before anything is sent.
    """
    must_be_whole = (
        request.method != "GET"
        or "If-None-Match" in request.headers
        or request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
    )
    with ExitStack() as on_failure:
        on_failure.enter_context(closing(pieces))
        spool = on_failure.enter_context(_Spool())
        whole = spool.fill(pieces, None if must_be_whole else SMALL_BYTES)
        on_failure.pop_all()
    if whole and spool.length <= MEMORY_BYTES:
        with spool:
            return Response(b"".join(spool.read_out()), content_type=content_type), True
    if whole:
        body = spool.read_out()
    else:
        client = request.environ.get("gunicorn.socket")
        body = _as_they_come(spool, pieces, client=client, request_id=g.request_id)
    response = Response(body, content_type=content_type)
    response.call_on_close(pieces.close)
    response.call_on_close(spool.close)
    if whole:
        response.content_length = spool.length
    return response, whole


class _Spool(SpooledTemporaryFile[bytes]):
    """The part of a body that is collected before it is sent."""

    def __init__(self) -> None:
        super().__init__(max_size=MEMORY_BYTES)
        self.length = 0

    def fill(self, pieces: Pieces, limit: int | None) -> bool:
        """Write pieces until there are no more, or the limit in bytes is reached; returns whether there are no more.

        Raises:
            SpoolFailed: what was written is lost.
        """
        whole = True
        for piece in pieces:
            self._try(self.write, piece)
            self.length += len(piece)
            if limit is not None and self.length >= limit:
                whole = False
                break
        self._try(self.flush)
        return whole

    def _try(self, step: Callable[..., object], *arguments: bytes) -> None:
        try:
            step(*arguments)
        except OSError as error:
            with suppress(OSError):  # closing tries once more to write what is in the file's buffer
                self.close()
            raise SpoolFailed(f"temporary file: {error}") from error

    def read_out(self) -> Generator[bytes, None, None]:
        """Yield all that was written, and forget it."""
        self.seek(0)
        while chunk := self.read(CHUNK_BYTES):
            yield chunk
        self.seek(0)
        self.truncate()
        self.length = 0


def _as_they_come(
    spool: _Spool, pieces: Pieces, *, client: socket | Outgoing | None, request_id: str
) -> Generator[bytes, None, None]:
    patience = PATIENCE_SECONDS
    try:
        for chunk in chain(spool.read_out(), _in_chunks(pieces)):
            if isinstance(client, Outgoing):
                client.settimeout(max(patience, 0.0))
            began = _idle_seconds()
            yield chunk
            patience -= _idle_seconds() - began
    except Exception as error:
        log.error("answer broken off", extra={"action": "error", "request_id": request_id, "cause": str(error)})
        raise


def _idle_seconds() -> float:
    """A clock of the time in which this thread did not compute: to compress a chunk is no waiting for the client."""
    return monotonic() - thread_time()


def _in_chunks(pieces: Pieces) -> Generator[bytes, None, None]:
    for piece in pieces:
        for at in range(0, len(piece), CHUNK_BYTES):
            yield piece[at : at + CHUNK_BYTES]
