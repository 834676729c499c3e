"""The connections of the stand's phones: UDP, TCP and WebSocket, each with one reader thread.

A connection carries whole SIP messages as bytes. It does not parse them.
"""

import contextlib
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.stand.sip import Frames, host_port

LOG = logging.getLogger("tests.stand.sip")
LOG.addHandler(logging.NullHandler())  # websockets logs a traceback for each connection to a proxy that died

KEEPALIVE = 25.0
"""Seconds of quiet after which a TCP or WebSocket connection is pinged (RFC 5626 section 4.4.1)."""

CONNECT_TIMEOUT = 5.0
"""Timeout in seconds for a TCP connection and for the WebSocket handshake."""

TransportName = Literal["udp", "tcp", "ws"]
Address = tuple[Any, ...]
"""A socket address, as the socket module returns it."""
Deliver = Callable[["Connection", bytes, Address], None]


class Connection(ABC):
    """A connection to the proxy, open until `close()` or until the proxy closes it.

    `on_message(connection, data, source)` and `on_lost()` are called in the reader thread. Answer with
    `connection.send(data, to=source)`. The constructor raises OSError if the proxy cannot be reached.
    """

    name: TransportName
    reliable: bool
    _local: Address

    def __init__(self, *, on_message: Deliver, on_lost: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._closing = threading.Event()
        self._lost = threading.Event()
        self._reader = threading.Thread(target=self._read_all, name=f"sip-{self.name}", daemon=True)

    def start(self) -> None:
        """Start the reader thread. Nothing is delivered before."""
        self._reader.start()

    @property
    def lost(self) -> bool:
        """Whether the connection is closed or lost."""
        return self._lost.is_set()

    @property
    def local(self) -> tuple[str, int]:
        """Our own address and port."""
        return self._local[0], self._local[1]

    @abstractmethod
    def send(self, data: bytes, *, to: Address | None = None) -> None:
        """Send one message to the proxy, or by UDP to the address `to`. Raises OSError if it cannot be sent."""

    @abstractmethod
    def _messages(self) -> Iterator[tuple[bytes, Address]]:
        """Yield each message and its source until the connection ends."""

    @abstractmethod
    def _wake(self) -> None:
        """Make a blocked `_messages` return once `_closing` is set."""

    @abstractmethod
    def _release(self) -> None:
        """Close the socket. May be called more than once."""

    def close(self) -> None:
        """Close the connection and wait for its reader thread. May be called again."""
        self._closing.set()
        if self._reader.is_alive() and self._reader is not threading.current_thread():
            with contextlib.suppress(OSError):
                self._wake()
            self._reader.join()
        self._release()
        self._lost.set()

    def _read_all(self) -> None:
        try:
            with contextlib.suppress(OSError):
                for data, source in self._messages():
                    self._on_message(self, data, source)
        finally:
            self._lost.set()
            self._release()
            self._on_lost()


class UdpConnection(Connection):
    """A UDP socket on our address towards the proxy. It accepts datagrams from anyone."""

    name: TransportName = "udp"
    reliable = False

    def __init__(self, proxy: tuple[str, int], *, local: Address | None = None, **callbacks: Any) -> None:
        super().__init__(**callbacks)
        family, _, _, _, address = socket.getaddrinfo(*proxy, type=socket.SOCK_DGRAM)[0]
        self._proxy: Address = address
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(self._proxy)
            host = probe.getsockname()[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(local or (host, 0))
        except OSError:
            self._socket.close()
            raise
        self._local = self._socket.getsockname()

    def send(self, data: bytes, *, to: Address | None = None) -> None:
        self._socket.sendto(data, to or self._proxy)

    def _messages(self) -> Iterator[tuple[bytes, Address]]:
        while not self._closing.is_set():
            data, source = self._socket.recvfrom(65535)
            if data.strip(b"\r\n\0"):  # otherwise a NAT keep-alive: nathelper sends four zero bytes
                yield data, source

    def _wake(self) -> None:
        self._socket.sendto(b"", self._local)

    def _release(self) -> None:
        self._socket.close()


def _connect_stream(proxy: tuple[str, int], local: Address | None) -> socket.socket:
    """Open a TCP connection to the proxy. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(*proxy, type=socket.SOCK_STREAM)[0]
    stream = socket.socket(family, socket.SOCK_STREAM)
    try:
        stream.settimeout(CONNECT_TIMEOUT)
        if local is not None:
            stream.bind(local)
        stream.connect(address)
        if stream.getsockname() == stream.getpeername():  # on loopback TCP can connect a socket to itself
            raise ConnectionRefusedError("nobody listens: the socket connected to itself")
    except OSError:
        stream.close()
        raise
    return stream


class TcpConnection(Connection):
    """A TCP connection that stays open between exchanges, by CRLF keep-alives (RFC 5626 section 3.5.1)."""

    name: TransportName = "tcp"
    reliable = True

    def __init__(self, proxy: tuple[str, int], *, local: Address | None = None, **callbacks: Any) -> None:
        super().__init__(**callbacks)
        self._socket = _connect_stream(proxy, local)
        self._socket.settimeout(KEEPALIVE)
        self._local = self._socket.getsockname()
        self._sending = threading.Lock()

    def send(self, data: bytes, *, to: Address | None = None) -> None:  # noqa: ARG002 (a stream has one peer)
        with self._sending:
            self._socket.sendall(data)

    def _messages(self) -> Iterator[tuple[bytes, Address]]:
        frames = Frames()
        while True:
            try:
                data = self._socket.recv(65535)
            except TimeoutError:
                self.send(b"\r\n\r\n")
                continue
            if not data:
                return
            for message in frames.feed(data):
                yield message, ()

    def _wake(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        self._socket.close()


class WebSocketConnection(Connection):
    """A WebSocket with the subprotocol "sip": one SIP message a WebSocket message (RFC 7118)."""

    name: TransportName = "ws"
    reliable = True

    def __init__(self, proxy: tuple[str, int], *, local: Address | None = None, **callbacks: Any) -> None:
        super().__init__(**callbacks)
        self._open = contextlib.ExitStack()
        stream = _connect_stream(proxy, local)
        try:
            stream.settimeout(None)
            self._local = stream.getsockname()
            self._socket = self._open.enter_context(
                connect(
                    f"ws://{host_port(*proxy)}/",
                    sock=stream,  # our own socket, so that no HTTP proxy of the environment is used
                    subprotocols=[Subprotocol("sip")],
                    compression=None,
                    open_timeout=CONNECT_TIMEOUT,
                    ping_interval=KEEPALIVE,
                    ping_timeout=KEEPALIVE,
                    close_timeout=1,
                    logger=LOG,
                )
            )
        except (OSError, WebSocketException) as error:
            stream.close()
            raise ConnectionError(f"WebSocket handshake: {error}") from error

    def send(self, data: bytes, *, to: Address | None = None) -> None:  # noqa: ARG002 (a stream has one peer)
        try:
            message: str | bytes = data.decode()
        except UnicodeDecodeError:
            message = data
        try:
            self._socket.send(message)
        except ConnectionClosed as error:
            raise ConnectionError(f"WebSocket: {error}") from error

    def _messages(self) -> Iterator[tuple[bytes, Address]]:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = self._socket.recv()
                data = message.encode() if isinstance(message, str) else message
                if data.strip():  # Kamailio's websocket module may send CRLF keep-alives
                    yield data, ()

    def _wake(self) -> None:
        self._socket.close()

    def _release(self) -> None:
        self._open.close()


def open_connection(
    transport: TransportName,
    proxy: tuple[str, int],
    *,
    on_message: Deliver,
    on_lost: Callable[[], None],
    local: Address | None = None,
) -> Connection:
    """Open and start a connection to `proxy`, from the address `local` if one is given. Raises OSError."""
    callbacks: dict[str, Any] = {"on_message": on_message, "on_lost": on_lost, "local": local}
    connection: Connection
    if transport == "udp":
        connection = UdpConnection(proxy, **callbacks)
    elif transport == "tcp":
        connection = TcpConnection(proxy, **callbacks)
    elif transport == "ws":
        connection = WebSocketConnection(proxy, **callbacks)
    else:
        raise ValueError(f"unknown transport {transport!r}; known are udp, tcp, ws")
    connection.start()
    return connection
