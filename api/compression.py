"""gzip for clients that accept it (RFC 9110, 8.4.1.3), as Crossbar does (crossbar_init.erl, compress_response_body).

**The token stays out of the compression.** A phone chooses texts that stand in a list, such as User-Agent, and the same
answer carries the client's token. If both were compressed together, the length of the encrypted answer would show
whether such a text resembles the token, and it could be guessed piece by piece (the BREACH attack). So the token is
sent as a block of its own that is not compressed (RFC 1951, 3.2.4), and the compressor forgets what came before it.
Answers hold no other secret.
"""

import re
import zlib
from collections.abc import Generator, Iterable
from struct import pack

from flask import Response, g, request

# Smaller answers fit into one packet anyway.
MIN_BYTES = 1024
# zlib's fastest: a list of 10,000 shrinks to a twelfth. Level 6 takes twice the time for a fifth less.
LEVEL = 1
COMPRESSIBLE = re.compile(r"text/.*|application/(json|javascript)|image/svg.*")
# Every token has this form; what else a client sends in its place opens nothing.
TOKEN = re.compile(r"[0-9a-f]{64}")
# RFC 1952, 2.3: deflate, no name, no time, of Unix.
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"


def gzipped(chunks: Iterable[bytes], *, secret: bytes | None) -> Generator[bytes, None, None]:
    """Compress a body of any length in constant memory.

    Args:
        chunks: the body.
        secret: text that is sent uncompressed wherever it stands, at most 65,535 bytes; None: there is none.
    """
    deflate = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
    stored = b"" if secret is None else pack("<BHH", 0, len(secret), len(secret) ^ 0xFFFF) + secret
    checksum = length = 0
    held = b""  # the end of what came, in which a secret may begin
    yield HEADER
    for chunk in chunks:
        checksum, length = zlib.crc32(chunk, checksum), length + len(chunk)
        if secret is None:
            some = deflate.compress(chunk)
        else:
            *before, rest = (held + chunk).split(secret)
            at = max(0, len(rest) - len(secret) + 1)
            held = rest[at:]
            parts = [deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH) + stored for part in before]
            some = b"".join(parts) + deflate.compress(rest[:at])
        if some:
            yield some
    yield deflate.compress(held) + deflate.flush() + pack("<LL", checksum, length & 0xFFFFFFFF)


def _accepts_gzip() -> bool:
    # A proxy that speaks HTTP/1.0 may pass the header on and not understand the answer; nginx heeds that, too.
    is_old = request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
    return not is_old and request.accept_encodings.best_match(("gzip", "identity")) == "gzip"


def compress(response: Response) -> Response:
    """Compress a response that is worth it, for a client that accepts it."""
    if not COMPRESSIBLE.fullmatch(response.mimetype or ""):
        return response
    response.vary.add("Accept-Encoding")
    short = not response.is_streamed and len(response.get_data()) < MIN_BYTES
    if short or not _accepts_gzip() or "Content-Range" in response.headers:
        return response
    tag, _ = response.get_etag()
    if tag:
        response.set_etag(tag, weak=True)  # the same data in other bytes (RFC 9110, 8.8.1)
    if response.status_code == 304:
        return response
    token = g.get("auth_token") or ""
    secret = token.encode() if TOKEN.fullmatch(token) else None
    response.headers["Content-Encoding"] = "gzip"
    if not response.is_streamed:
        response.set_data(b"".join(gzipped([response.get_data()], secret=secret)))
        return response
    body = response.response
    if close := getattr(body, "close", None):
        response.call_on_close(close)
    response.direct_passthrough = False
    response.headers.pop("Content-Length", None)
    response.response = gzipped(body, secret=secret)  # type: ignore[arg-type]  # a streamed body is bytes
    return response
