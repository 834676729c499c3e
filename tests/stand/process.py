"""Daemons as context managers: started in a session of their own, awaited, shown when they fail, never left behind.

Owns processes, ports and the one polling helper (the only `time.sleep` of the test bed); knows no particular daemon.
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
from pathlib import Path

TAIL_LINES = 40


class DaemonFailed(RuntimeError):
    """A daemon died or never became ready; the message ends with the tail of its log."""


def wait_until(predicate: Callable[[], object], timeout: float, what: str, *, interval: float = 0.02) -> None:
    """Poll until `predicate` returns something true.

    Args:
        predicate: asked at least once, also with a timeout of 0. Its exceptions pass through.
        timeout: seconds.
        what: completes the sentence "waited N s for ..." of the failure.
        interval: seconds between two questions.

    Raises:
        TimeoutError: it stayed false for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(interval)


def _share() -> list[int]:
    """Ports that no other process of this run chooses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % SHARES * SHARE
    start = first + os.getpid() % SHARE  # a program that a test runs has the share of that test
    return [*range(start, first + SHARE), *range(first, start)]


# Below the ports that the kernel gives to connections: one of these may be taken before a daemon listens on it.
FIRST_PORT, SHARES, SHARE = 10_000, 8, 2_800
_PORTS = itertools.cycle(_share())


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens, neither by TCP nor by UDP (SIP wants the same for both).

    It is not returned again soon, so several may be chosen before the first is used.
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
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Daemon:
    """A running child in its own session, its output in a file."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self.process.pid

    def is_running(self) -> bool:
        """Whether the child has not ended yet."""
        return self.process.poll() is None

    def log_text(self) -> str:
        """Everything it has written so far, bytes that are no UTF-8 replaced."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_ready(self, ready: Callable[[], object], timeout: float) -> None:
        """Wait until `ready` says so.

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
        """Send a signal to the daemon alone (its own handler tells its children)."""
        if self.is_running():
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the whole process group: a crash, nothing is flushed."""
        self._signal_group(signal.SIGKILL)
        self.process.wait()

    def stop(self, *, number: int = signal.SIGTERM, grace: float = 10) -> int:
        """Ask it to end, then insist.

        Args:
            number: the signal that asks.
            grace: seconds until SIGKILL.

        Returns:
            Its exit status, negative for a signal.
        """
        self.send(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=grace)
        self._signal_group(signal.SIGKILL)  # it, when it did not listen, and children that it left
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
    """Run a daemon in the foreground for the time of the `with`.

    Args:
        command: program and arguments; it must not put itself into the background.
        log: file that takes its output, appended to.
        ready: says when it may be used.
        name: for messages; the program's name when left out.
        env: variables on top of ours.
        cwd: working directory.
        pass_fds: descriptors that it has, too, by the same numbers.
        ready_timeout: seconds until it must be ready.
        stop_signal: asks it to end at the end of the `with`.
        grace: seconds until SIGKILL after that.

    Raises:
        DaemonFailed: it ended or was not ready in time.
    """
    # When we are killed ourselves, and no `finally` runs, the kernel sends the signal instead.
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
