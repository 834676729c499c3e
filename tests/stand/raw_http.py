"""HTTP by hand: bytes to a server as they are, and its reply as it came. For what no client library would send."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from typing import Any

TIMEOUT_SECONDS = 10
SEND_BUFFER_BYTES = 4096


@dataclass(frozen=True)
class RawReply:
    """One reply.

    Attributes:
        status: of the status line.
        headers: names in any case.
        body: as long as Content-Length says.
        rest: what came after it until the server closed; nothing unless it answered twice.
    """

    status: int
    headers: Message
    body: bytes
    rest: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def exchange(port: int, request: bytes, *, method: str = "GET") -> RawReply:
    """Send all bytes, then read the reply and what follows it until the server closes.

    Args:
        port: on 127.0.0.1.
        request: everything, headers and body; it had better say ``Connection: close``.
        method: whether the reply has a body, to those who know that HEAD has none.

    Raises:
        OSError: the connection was cut before the reply was read, or the server said nothing for ten seconds.
        http.client.HTTPException: what came is no reply.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
        # A slow network's: what does not fit is still to be sent when the server has read enough.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.sendall(request)
        response = HTTPResponse(connection, method=method)
        response.begin()
        body = response.read()
        rest = b""
        while more := connection.recv(65536):
            rest += more
        return RawReply(response.status, response.headers, body, rest)
