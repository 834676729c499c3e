"""A server that stops: who is in its queue is served, who comes later refused at once, and a reload refuses nobody."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from tests.demo.content import program
from tests.fixtures.server import HOST
from tests.stand.postgres import Cluster
from tests.stand.process import Daemon, daemon, free_port, wait_until

LIVE = b"GET /live HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
# Its end is awaited for as long as `api_request_timeout`.
UNDER_WAY = b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\n{"
OK, WHOLE = b"HTTP/1.1 200 OK", b'{"status":"live"}\n'
QUEUED, FEW = 60, 50
# What systemd does: the listener is another's, who keeps it, and the server has it as its descriptor 3.
ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.execve(sys.argv[2], sys.argv[2:], {**os.environ, 'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())})"
)


Address = tuple[str, int] | str


@dataclass(frozen=True)
class Serving:
    """A server that runs, and where: a port on 127.0.0.1, or the path of a UNIX socket."""

    at: Address
    process: Daemon

    def connect(self) -> socket.socket:
        """A new connection."""
        return _connect(self.at)


def _connect(at: Address) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET)
    connection.settimeout(20)
    try:
        connection.connect(at)
    except OSError:
        connection.close()
        raise
    return connection


def _ask(at: Address) -> bytes:
    """The status line of an answer on a new connection, or what became of the connection."""
    try:
        with _connect(at) as connection:
            connection.sendall(LIVE)
            return _read(connection)
    except OSError as error:
        return type(error).__name__.encode()


def _workers(serving: Serving) -> set[int]:
    """Its processes that handle signals by themselves: until then they are the arbiter's, which handles no SIGABRT."""
    children = Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children").read_text(encoding="ascii")
    return {int(child) for child in children.split() if _handles(int(child), signal.SIGABRT)}


def _handles(pid: int, number: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    handled = re.search(r"^SigCgt:\s+([0-9a-f]+)$", status, re.MULTILINE)
    return handled is not None and bool(int(handled[1], 16) >> (number - 1) & 1)


def _read(connection: socket.socket) -> bytes:
    """The status line, if the answer is whole."""
    answer = b""
    while more := connection.recv(65536):
        answer += more
    return answer.partition(b"\r\n")[0] if answer.endswith(WHOLE) else answer


@contextmanager
def _asking(serving: Serving) -> Iterator[Counter[bytes]]:
    """Ask again and again, each time on a new connection, and count what becomes of it."""
    found: Counter[bytes] = Counter()
    over = Event()

    def ask() -> None:
        while not over.is_set():
            found[_ask(serving.at)] += 1

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()


Serve = Callable[..., Serving]


@pytest.fixture
def serve(database: psycopg.Connection, postgres: Cluster, tmp_path: Path) -> Iterator[Serve]:
    """Start a server at an address, by `registrations-api serve` or another command."""
    with ExitStack() as running:

        def start(at: Address, *command: str | Path, pass_fds: Sequence[int] = ()) -> Serving:
            bind = f"unix:{at}" if isinstance(at, str) else f"{at[0]}:{at[1]}"
            environment = {
                "REGISTRATIONS_DATABASE_URL": postgres.url(database.info.dbname, user="registrations_api"),
                "REGISTRATIONS_API_BIND": bind,
                "REGISTRATIONS_API_REQUEST_TIMEOUT": "5",
            }
            served = daemon(
                [*command, *(() if command else (program("registrations-api"), "serve"))],
                log=tmp_path / "api.log",
                env=environment,
                pass_fds=pass_fds,
                ready=lambda: _ask(at) == OK,
            )
            return Serving(at, running.enter_context(served))

        yield start


@pytest.fixture(params=["tcp", "unix"])
def serving(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Serving:
    """A server of two processes."""
    serving = serve((HOST, free_port()) if request.param == "tcp" else str(tmp_path / "api.sock"))
    wait_until(lambda: len(_workers(serving)) == 2, 20, "both processes")
    return serving


def test_who_is_in_the_queue_is_served(serving: Serving) -> None:
    """The kernel has accepted them for a server that did not come to it before it was told to stop."""
    workers = _workers(serving)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    queued = [serving.connect() for _ in range(QUEUED)]
    for connection in queued:
        connection.sendall(LIVE)
    serving.process.send(signal.SIGTERM)
    wait_until(lambda: "Handling signal: term" in serving.process.log_text(), 10, "the stop to begin")
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    for connection in queued:
        with connection:
            assert _read(connection) == OK
    assert serving.process.process.wait(20) == 0


def test_while_it_stops_a_client_is_served_or_refused(serving: Serving) -> None:
    """Never reset, never left without a word, however long a request that is under way takes; that is answered."""
    refusal = b"FileNotFoundError" if isinstance(serving.at, str) else b"ConnectionRefusedError"
    with serving.connect() as under_way:
        under_way.sendall(UNDER_WAY)
        with _asking(serving) as found:
            wait_until(lambda: found[OK] > FEW, 20, "answers")
            serving.process.send(signal.SIGTERM)
            wait_until(lambda: found[refusal] > FEW, 20, "refusals")
            assert serving.process.is_running()
        assert under_way.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert set(found) == {OK, refusal}
    assert serving.process.process.wait(20) == 0


def test_a_reload_refuses_nobody(serving: Serving) -> None:
    """SIGHUP: other processes take over, and the listener stays."""
    before = _workers(serving)
    with _asking(serving) as found:
        serving.process.send(signal.SIGHUP)
        wait_until(lambda: not before & _workers(serving), 20, "other processes")
        seen = found.total()
        wait_until(lambda: found.total() > seen + FEW, 20, "answers")
    assert set(found) == {OK}


def test_a_worker_that_is_replaced_refuses_nobody(serve: Serve) -> None:
    """By gunicorn's own command, which can end a worker after so many requests."""
    at = (HOST, free_port())
    options = ["--worker-class", "api.server.worker.EnvelopeWorker", "--threads", "4", "--max-requests", "40"]
    serving = serve(
        at, program("gunicorn"), *options, "--no-control-socket", "--bind", f"{HOST}:{at[1]}", "api.wsgi:app"
    )
    with _asking(serving) as found:
        wait_until(lambda: found.total() > 400, 60, "answers")
    assert set(found) == {OK}
    assert serving.process.log_text().count("Autorestarting worker") > 5


def test_a_restart_with_a_socket_of_systemds_refuses_nobody(serve: Serve) -> None:
    """Who comes while the server is away waits for the next one, so a restart refuses nobody."""
    with socket.create_server((HOST, free_port())) as listener:
        at = listener.getsockname()
        command = [sys.executable, "-c", ACTIVATE, str(listener.fileno()), program("registrations-api"), "serve"]
        first = serve(at, *command, pass_fds=[listener.fileno()])
        with _asking(first) as found:
            wait_until(lambda: found.total() > FEW, 20, "answers")
            first.process.stop()
            with first.connect() as late:
                late.sendall(LIVE)
                serve(at, *command, pass_fds=[listener.fileno()])
                assert _read(late) == OK
            seen = found.total()
            wait_until(lambda: found.total() > seen + FEW, 20, "answers of the next")
        assert set(found) == {OK}
