"""The demo's PostgreSQL, which may be stopped and started from outside while the demo runs, and still ends with it."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.demo.settings import HOST, Settings
from tests.stand.postgres import SETTINGS, UNSAFE_BUT_FAST, Cluster, bin_directory, cluster
from tests.stand.process import wait_until

DATABASE = "kamailio"
STOP_SECONDS = 4.0


def find_server(data: Path) -> tuple[int, bool] | None:
    """Look for the server of a data directory, whoever started it.

    Returns:
        Its process id and whether it takes connections; None when there is none.
    """
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
        # The file outlives a server that was killed, and its number may be another process by now.
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() != "postgres":
            return None
        if b"State:\tZ" in Path(f"/proc/{pid}/status").read_bytes():
            return None
    except (OSError, ValueError, IndexError):
        return None
    return pid, len(lines) > 7 and lines[7].strip() == "ready"


def end_server(data: Path, *, hurried: Callable[[], bool] = lambda: False) -> None:
    """Stop the server of a data directory, whoever started it: in order, or at once when that takes too long."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate
        server = find_server(data)
        if server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(server[0], number)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: find_server(data) is None or hurried(), STOP_SECONDS, "PostgreSQL to end")


class Database:
    """The private cluster under the demo's directory."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.directory / "postgres"
        self._port = settings.pg_port
        self._held = contextlib.ExitStack()
        self._cluster: Cluster | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._directory / "data"

    @property
    def is_new(self) -> bool:
        """Whether there is no cluster yet."""
        return not (self.data / "PG_VERSION").exists()

    @property
    def version(self) -> str:
        """Major version of the server that is installed."""
        return bin_directory().parent.name

    @property
    def is_up(self) -> bool:
        """Whether the server takes connections, whoever started it."""
        server = find_server(self.data)
        return server is not None and server[1]

    def pid(self) -> int:
        """Process id of the server; 0 when there is none."""
        server = find_server(self.data)
        return 0 if server is None else server[0]

    def url(self, *, user: str = "postgres") -> str:
        """The demo's database for a role of it."""
        return f"postgresql://{user}@{HOST}:{self._port}/{DATABASE}"

    def start(self) -> None:
        """Start the server, and make cluster and database when they are missing.

        Raises:
            DaemonFailed: it does not start; the message has the tail of its log.
            subprocess.CalledProcessError: initdb fails.
        """
        self._cluster = self._held.enter_context(cluster(self._directory, host=HOST, port=self._port))
        with psycopg.connect(self._cluster.url(), autocommit=True) as connection:
            # Whoever starts it from outside, by pg_ctl, gets the same server.
            for name, value in {**SETTINGS, **UNSAFE_BUT_FAST, "port": str(self._port)}.items():
                connection.execute(f"alter system set {name} = '{value}'")
            if not connection.execute("select from pg_database where datname = %s", [DATABASE]).fetchall():
                connection.execute(f"create database {DATABASE}")

    def start_again(self) -> None:
        """Start the server after it was stopped; nothing happens when one runs. Raises DaemonFailed."""
        if self._cluster is not None and find_server(self.data) is None:
            self._cluster.start()

    def stop(self) -> None:
        """Stop the server, whoever started it."""
        end_server(self.data)
        self.reap()

    def reap(self) -> None:
        """Take note of the end of a server of ours that somebody else stopped."""
        if self._cluster is not None and not self._cluster.is_running:
            self._cluster.stop()

    def end(self, *, hurried: Callable[[], bool]) -> None:
        """Stop the server for good, also one that somebody else started meanwhile."""
        end_server(self.data, hurried=hurried)
        self._held.close()
