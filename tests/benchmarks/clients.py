"""HTTP clients that need little CPU themselves, and the memory of processes."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from time import perf_counter

HOST = "127.0.0.1"
PATIENCE = 600


def request_bytes(path: str, token: str = "") -> bytes:
    """Return a GET request as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Auth-Token: {token}\r\n\r\n".encode()


@dataclass(frozen=True)
class Got:
    """One answer: seconds to its first and last byte, status and size."""

    first: float
    last: float
    status: int
    size: int


def fetch(port: int, path: str, token: str = "", *, method: str = "GET") -> Got:
    """Send one request on a new connection, and read the answer without keeping it."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    connection.connect()
    started = perf_counter()
    connection.request(method, path, headers={"X-Auth-Token": token})
    response = connection.getresponse()
    size = len(response.read(1))
    first = perf_counter() - started
    while chunk := response.read(1 << 20):
        size += len(chunk)
    last = perf_counter() - started
    connection.close()
    return Got(first, last, response.status, size)


def fetch_well(port: int, path: str, token: str = "", *, method: str = "GET") -> Got:
    """Do the same as `fetch`, but accept only a 200.

    Raises:
        RuntimeError: the status is not 200.
    """
    got = fetch(port, path, token, method=method)
    if got.status != 200:
        raise RuntimeError(f"{method} {path} returned {got.status}")
    return got


@dataclass
class _Client:
    sock: socket.socket
    left: int = -1
    head: bytes = b""
    closes: bool = False


@dataclass
class Pace:
    """The number of answers by status, and the time they took."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers with status 200 for each second."""
        return self.statuses.get(200, 0) / self.seconds


def pace(port: int, requests: Iterable[bytes], *, clients: int, seconds: float) -> Pace:
    """Let many clients send requests as fast as they get answers, on kept connections if the server keeps them."""
    upcoming, result = cycle(requests), Pace()
    with selectors.DefaultSelector() as selector:
        running = [_Client(socket.create_connection((HOST, port))) for _ in range(clients)]
        started = perf_counter()
        for client in running:
            selector.register(client.sock, selectors.EVENT_READ, client)
            client.sock.sendall(next(upcoming))
        while (now := perf_counter()) < started + seconds:
            for key, _ in selector.select(0.1):
                client = key.data
                status = _read(client)
                if status is not None:
                    result.statuses[status] = result.statuses.get(status, 0) + 1
                    if client.closes:
                        selector.unregister(client.sock)
                        client.sock.close()
                        client.sock = socket.create_connection((HOST, port))
                        selector.register(client.sock, selectors.EVENT_READ, client)
                    client.sock.sendall(next(upcoming))
        result.seconds = now - started
        for client in running:
            client.sock.close()
    return result


def _read(client: _Client) -> int | None:
    """Read what arrived. Return the status if an answer is complete."""
    data = client.sock.recv(1 << 18)
    if not data:
        raise RuntimeError("the server closed a connection that it should keep")
    if client.left < 0:
        client.head += data
        head, found, body = client.head.partition(b"\r\n\r\n")
        if not found:
            return None
        client.head = head
        client.left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
    else:
        client.left -= len(data)
    if client.left > 0:
        return None
    status = int(client.head[9:12])
    client.closes = b"\r\nconnection: close" in client.head.lower()
    client.left, client.head = -1, b""
    return status


def peak_growth(processes: Iterable[int], work: Callable[[], None]) -> float:
    """Measure by how much the memory of these processes grows at most during some work, in MB (10^6 bytes)."""
    pids = list(processes)
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # reset the peak (man 5 proc)
    before = sum(_kilobytes(pid, "VmRSS") for pid in pids)
    work()
    return (sum(_kilobytes(pid, "VmHWM") for pid in pids) - before) * 1024 / 1e6


def _kilobytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition(f"{name}:")[2].split()[0])
