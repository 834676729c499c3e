"""Bodies of any size in constant memory: written before they are sent while they are small, then as they come.

What is small is in memory, or in a file that nobody else sees, until all of it is there. So a fault in its midst is an
error and not half an answer, and what is only known at its end can stand in the headers. Of what is large only the
beginning is: the client has its first byte soon, and a fault is a connection that breaks within the chunked body,
which no client takes for its end (RFC 9112, 8).
"""

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, suppress
from itertools import chain
from socket import socket
from tempfile import SpooledTemporaryFile
from time import monotonic

from flask import Response, g, request

from api.server.outgoing import Outgoing

# Some 3,000 registrations, which is more than most lists have.
SMALL_BYTES = 3 << 20
MEMORY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
# PostgreSQL cannot clean the table up while somebody reads it. Of a client that has kept us waiting for so long the
# server keeps the rest, in a file, and sends it as it is taken.
PATIENCE_SECONDS = 1.0

log = logging.getLogger(__name__)

Pieces = Generator[bytes, None, None]


class SpoolFailed(Exception):
    """The temporary directory takes no more: it is full, read-only, not ours or gone, or a limit is reached."""


def respond(pieces: Pieces, *, content_type: str) -> tuple[Response, bool]:
    """Make a 200 of a body that comes in pieces.

    It is always written before it is sent where that is needed: for HEAD, for If-None-Match, and for HTTP/1.0, which
    cannot tell a broken answer from a whole one.

    Returns:
        The response, and whether the pieces are used up. If not, they will be when it is sent, or closed.

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
    """A part of a body on its way."""

    def __init__(self) -> None:
        super().__init__(max_size=MEMORY_BYTES)
        self.length = 0

    def fill(self, pieces: Pieces, limit: int | None) -> bool:
        """Write until there are no more, or so many bytes are there; returns whether there are no more.

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
            with suppress(OSError):  # to close is to try once more to write what is in the file's buffer
                self.close()
            raise SpoolFailed(f"temporary file: {error}") from error

    def read_out(self) -> Generator[bytes, None, None]:
        """All that was written, once; it is empty then."""
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
            began = monotonic()
            yield chunk
            patience -= monotonic() - began
    except Exception as error:
        log.error("answer broken off", extra={"action": "error", "request_id": request_id, "cause": str(error)})
        raise


def _in_chunks(pieces: Pieces) -> Generator[bytes, None, None]:
    for piece in pieces:
        for at in range(0, len(piece), CHUNK_BYTES):
            yield piece[at : at + CHUNK_BYTES]
