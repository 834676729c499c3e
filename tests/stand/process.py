"""Daemons as context managers: started in their own session, awaited, shown when they fail, and always ended.

This module owns processes, ports and `wait_until`, the only place where tests sleep. It knows no particular daemon.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

TAIL_LINES = 40


class DaemonFailed(RuntimeError):
    """A daemon died or never became ready; the message ends with the tail of its log."""


def wait_until(predicate: Callable[[], object], timeout: float, what: str, *, interval: float = 0.02) -> None:
    """Poll until `predicate` returns a true value.

    Args:
        predicate: called at least once, even with a timeout of 0. Its exceptions are not caught.
        timeout: seconds.
        what: completes the error message "waited N s for ...".
        interval: seconds between two calls.

    Raises:
        TimeoutError: it stayed false for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(interval)


def _share() -> list[int]:
    """Return the ports of this test process, which no other process of the run uses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % SHARES * SHARE
    start = first + os.getpid() % SHARE  # a program that a test starts shares the ports of that test
    return [*range(start, first + SHARE), *range(first, start)]


# Below the kernel's ephemeral ports: a connection could take one of those before a daemon listens on it.
FIRST_PORT, SHARES, SHARE = 10_000, 8, 2_800
_PORTS = itertools.cycle(_share())


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free for both TCP and UDP: SIP wants the same one for both.

    The same port is not returned again soon, so a test may choose several before it uses the first.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in itertools.islice(_PORTS, SHARE):
        with (
            socket.socket(family, socket.SOCK_STREAM) as tcp,
            socket.socket(family, socket.SOCK_DGRAM) as udp,
            contextlib.suppress(OSError),
        ):
            tcp.bind((host, port))
            udp.bind((host, port))
            return port
    raise RuntimeError(f"no port of {host} is free for both TCP and UDP")


def port_taken(host: str, port: int) -> bool:
    """Return whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def answers_http(port: int, path: str = "/ready") -> bool:
    """Return whether a server on 127.0.0.1 answers a GET of this path with 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


class Daemon:
    """A running child process in its own session, with its output in a file."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Process ID, also the ID of its process group."""
        return self.process.pid

    def is_running(self) -> bool:
        """Return whether the process has not ended yet."""
        return self.process.poll() is None

    def log_text(self) -> str:
        """Return everything it has written so far. Bytes that are not UTF-8 are replaced."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_ready(self, ready: Callable[[], object], timeout: float) -> None:
        """Wait until `ready` returns a true value.

        Raises:
            DaemonFailed: it ended, or was not ready within `timeout` seconds.
        """
        try:
            wait_until(lambda: not self.is_running() or ready(), timeout, f"{self.name} to be ready")
        except TimeoutError as error:
            raise DaemonFailed(f"{error}{self._tail()}") from None
        if not self.is_running():
            raise DaemonFailed(f"{self.name} ended with status {self.process.returncode}{self._tail()}")

    def send(self, number: int) -> None:
        """Send a signal to the daemon only: its handler passes it on to its children."""
        if self.is_running():
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the whole process group by SIGKILL, as a crash would."""
        self._signal_group(signal.SIGKILL)
        self.process.wait()

    def stop(self, *, number: int = signal.SIGTERM, grace: float = 10) -> int:
        """Stop it by a signal, and by SIGKILL if that is not enough.

        Args:
            number: the first signal.
            grace: seconds until SIGKILL.

        Returns:
            Its exit status, negative for a signal.
        """
        self.send(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=grace)
        self._signal_group(signal.SIGKILL)  # the daemon if it still runs, and children that it left
        return self.process.wait()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _tail(self) -> str:
        lines = self.log_text().splitlines()[-TAIL_LINES:]
        return f"\n--- {self.log}\n" + "\n".join(lines)


@contextlib.contextmanager
def daemon(
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], object] = lambda: True,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    ready_timeout: float = 20,
    stop_signal: int = signal.SIGTERM,
    grace: float = 10,
) -> Iterator[Daemon]:
    """Run a daemon in the foreground inside the `with` block.

    Args:
        command: program and arguments; it must not go into the background.
        log: file to which its output is appended.
        ready: returns true once the daemon can be used.
        name: for messages; default: the program's name.
        env: further variables.
        cwd: working directory.
        pass_fds: file descriptors to inherit, under the same numbers.
        ready_timeout: seconds until it must be ready.
        stop_signal: stops it at the end of the block.
        grace: seconds from that signal to SIGKILL.

    Raises:
        DaemonFailed: it ended, or was not ready in time.
    """
    # If this process is killed, no `finally` runs; then the kernel sends the signal.
    watched = ["setpriv", "--pdeathsig", signal.Signals(stop_signal).name, *command]
    arguments = [str(word) for word in watched]
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    child = Daemon(name or Path(command[0]).name, process, log)
    try:
        child.wait_ready(ready, ready_timeout)
        yield child
    finally:
        child.stop(number=stop_signal, grace=grace)
