"""HTTP by hand, for requests that no client library would send: any bytes to a server, and its unchanged reply."""

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
        headers: by name; case does not matter.
        body: of the length that Content-Length says.
        rest: all bytes after the body until the server closed the connection; empty unless it answered twice.
    """

    status: int
    headers: Message
    body: bytes
    rest: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


def exchange(port: int, request: bytes, *, method: str = "GET") -> RawReply:
    """Send all bytes, then read the reply and everything after it until the server closes.

    Args:
        port: on 127.0.0.1.
        request: headers and body; should have ``Connection: close``.
        method: of the request: a reply to HEAD has no body.

    Raises:
        OSError: the connection was cut before the reply was read, or the server sent nothing for ten seconds.
        http.client.HTTPException: the reply is not HTTP.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
        # As small as on a slow network: when the server has read enough, the rest of the request is not sent yet.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.sendall(request)
        response = HTTPResponse(connection, method=method)
        response.begin()
        body = response.read()
        rest = b""
        while more := connection.recv(65536):
            rest += more
        return RawReply(response.status, response.headers, body, rest)
