"""A request on its way in: buffered until it is complete, so that no thread waits for the rest of it (RFC 9112).

This only finds out when a request is complete. Then gunicorn's parser reads and judges it. If the time or the space for
it runs out first, the parser sees the end of the connection.
"""

import re

from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.unreader import Unreader

# Of request line and headers together. gunicorn's own limits allow 100 headers of 8 kB, which is 800 kB.
HEAD_BYTES = 1 << 16
# A chunk of one byte takes six bytes, and eight leaves room for extensions.
CHUNKED_SIZE = 8
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

BARE_LF = re.compile(rb"(?<!\r)\n")
LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,18})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
CODING = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)
EXPECTS = re.compile(rb"^expect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE | re.MULTILINE)
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}(?=[ \t]*(?:;|$))")


class Incoming:
    """What has arrived of a request, and perhaps of those after it.

    Attributes:
        bytes: all that has arrived.
        until: when the server gives up waiting for the rest, by the monotonic clock.
    """

    def __init__(self, begun: bytes, *, most: int, until: float) -> None:
        """Begin.

        Args:
            begun: what has arrived already.
            most: bytes of the largest body that the application reads.
            until: when to give up.
        """
        self.until = until
        self.bytes = bytearray(begun)
        self._most = most
        self._body: int | None = None  # where the body begins
        self._length: int | None = 0  # None: in chunks
        self._at = 0  # everything before this is parsed
        self._in_chunks = 0
        self._told = False

    def __len__(self) -> int:
        return len(self.bytes)

    def is_whole(self) -> bool:
        """Whether the request is complete, or has enough to be refused."""
        if self._body is None:
            seen = self._at
            self._find_body()
        if self._body is None:
            return self.has_large_head or BARE_LF.search(self.bytes, seen) is not None
        if self._length is None:
            return self._has_last_chunk(self._body)
        return len(self.bytes) >= self._body + self._length

    @property
    def has_large_head(self) -> bool:
        """Whether request line and headers are too long, and their end has not arrived."""
        return self._body is None and len(self.bytes) > HEAD_BYTES

    def wants_continue(self) -> bool:
        """Whether to send 100 now, for which the client waits before it sends the body.

        True once. The header is removed, so that gunicorn does not send another 100.
        """
        if self._body is None or self._told:
            return False
        self._told = True
        head, found = EXPECTS.subn(b"", bytes(self.bytes[: self._body]))
        if not found or b" HTTP/1.1\r\n" not in head:
            return False
        shift = self._body - len(head)
        self.bytes[: self._body] = head
        self._body -= shift
        self._at -= shift
        return True

    def _find_body(self) -> None:
        start = 2 if self.bytes.startswith(b"\r\n") else 0  # a request may begin with one empty line
        end = self.bytes.find(b"\r\n\r\n", max(start, self._at - 3))
        if end < 0:
            self._at = len(self.bytes)
            return
        self._body = self._at = end + len(b"\r\n\r\n")
        head = bytes(self.bytes[: end + 2])
        lengths = LENGTH.findall(head)
        if CODING.search(head):
            self._length = None
        elif len(lengths) == 1 and int(lengths[0]) <= self._most + 1:
            self._length = int(lengths[0])

    def _has_last_chunk(self, body: int) -> bool:
        while (line_end := self.bytes.find(b"\r\n", self._at)) >= 0:
            size = CHUNK_SIZE.match(self.bytes, self._at, line_end)
            if size is None:
                return True  # malformed, as the parser will say
            length, begin = int(size[0], 16), line_end + 2
            if length == 0 and (
                self.bytes.startswith(b"\r\n", begin) or self.bytes.find(b"\r\n\r\n", begin) >= 0  # after trailers
            ):
                return True
            if length == 0:
                break
            if begin + length + 2 > len(self.bytes):
                return self._is_too_large(body, self._in_chunks + min(length, len(self.bytes) - begin))
            self._at = begin + length + 2
            self._in_chunks += length
        return self._is_too_large(body, self._in_chunks)

    def _is_too_large(self, body: int, in_chunks: int) -> bool:
        return in_chunks > self._most or len(self.bytes) - body > CHUNKED_SIZE * (self._most + 1024)


class Received(Unreader):
    """Gives gunicorn's parser what has arrived, and then the end of the connection.

    Attributes:
        is_short: whether the parser wanted more, so that nobody knows where the next request begins.
    """

    def __init__(self, incoming: Incoming) -> None:
        super().__init__()
        self.unread(bytes(incoming.bytes))
        self.is_short = False
        self._has_large_head = incoming.has_large_head

    def chunk(self, size_hint: int | None = None) -> bytes:  # noqa: ARG002  # gunicorn's signature
        """Nothing more."""
        self.is_short = True
        if self._has_large_head:
            raise LimitRequestHeaders("max buffer headers")
        return b""
