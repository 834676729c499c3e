"""A socket on which a SIP phone listens for calls but from which it never registers: UDP, or a TCP server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self

from tests.stand.sip import Frames, MalformedMessage, Request, parse

Answer = Callable[[Request], bytes]
"""Makes the answer to a request; no bytes means no answer."""


class Listener:
    """Answers every request that arrives at one address, retransmissions too, until it is closed.

    Args:
        transport: `udp` or `tcp`.
        address: host and port to listen on; IPv6 without brackets.
        answer: called in a thread of the listener, once for each request that arrives.

    Raises:
        OSError: the address is in use.
    """

    def __init__(self, transport: Literal["udp", "tcp"], address: tuple[str, int], answer: Answer) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._answer = answer
        self._socket = socket.socket(family, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self._streams: list[socket.socket] = []
        try:
            self._socket.bind(address)
            if transport == "tcp":
                self._socket.listen()
        except OSError:
            self._socket.close()
            raise
        serve = self._serve_datagrams if transport == "udp" else self._accept
        self._thread = threading.Thread(target=serve, name=f"sip-listener-{transport}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and close all accepted connections."""
        for each in (self._socket, *self._streams):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(timeout=5)

    def _serve_datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, source = self._socket.recvfrom(65535)
                if not data:  # the wake-up of a shutdown
                    return
                for reply in self._replies([data]):
                    self._socket.sendto(reply, source)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._socket.accept()
                self._streams.append(stream)
                threading.Thread(target=self._serve_stream, args=(stream,), daemon=True).start()

    def _serve_stream(self, stream: socket.socket) -> None:
        frames = Frames()
        with contextlib.suppress(OSError):
            while data := stream.recv(65535):
                for reply in self._replies(frames.feed(data)):
                    stream.sendall(reply)

    def _replies(self, messages: list[bytes]) -> Iterator[bytes]:
        for each in messages:
            with contextlib.suppress(MalformedMessage):
                message = parse(each)
                if isinstance(message, Request) and (reply := self._answer(message)):
                    yield reply
