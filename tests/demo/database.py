"""The demo's PostgreSQL. It may be stopped and started from outside while the demo runs, and always ends with it."""

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
    """Find the server of a data directory, no matter who started it.

    Returns:
        Its process ID and whether it takes connections; None if no server runs.
    """
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
        # The file stays when a server is killed, and another process may have the same ID by now.
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() != "postgres":
            return None
        if b"State:\tZ" in Path(f"/proc/{pid}/status").read_bytes():
            return None
    except (OSError, ValueError, IndexError):
        return None
    return pid, len(lines) > 7 and lines[7].strip() == "ready"


def end_server(data: Path, *, hurried: Callable[[], bool] = lambda: False) -> None:
    """Stop the server of a data directory, no matter who started it: fast, or by force if that takes too long."""
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
        """Whether the cluster does not exist yet."""
        return not (self.data / "PG_VERSION").exists()

    @property
    def version(self) -> str:
        """Major version of the installed server."""
        return bin_directory().parent.name

    @property
    def is_up(self) -> bool:
        """Whether the server takes connections, no matter who started it."""
        server = find_server(self.data)
        return server is not None and server[1]

    def pid(self) -> int:
        """Return the process ID of the server, or 0."""
        server = find_server(self.data)
        return 0 if server is None else server[0]

    def url(self, *, user: str = "postgres") -> str:
        """Return the URL of the demo's database for one of its roles."""
        return f"postgresql://{user}@{HOST}:{self._port}/{DATABASE}"

    def start(self) -> None:
        """Start the server, and create cluster and database if they are missing.

        Raises:
            DaemonFailed: it did not start; the message has the tail of its log.
            subprocess.CalledProcessError: initdb failed.
        """
        self._cluster = self._held.enter_context(cluster(self._directory, host=HOST, port=self._port))
        with psycopg.connect(self._cluster.url(), autocommit=True) as connection:
            # A user who starts it from outside with pg_ctl gets the same settings.
            for name, value in {**SETTINGS, **UNSAFE_BUT_FAST, "port": str(self._port)}.items():
                connection.execute(f"alter system set {name} = '{value}'")
            if not connection.execute("select from pg_database where datname = %s", [DATABASE]).fetchall():
                connection.execute(f"create database {DATABASE}")

    def start_again(self) -> None:
        """Start the server after it was stopped, unless one runs. Raises DaemonFailed."""
        if self._cluster is not None and find_server(self.data) is None:
            self._cluster.start()

    def stop(self) -> None:
        """Stop the server, no matter who started it."""
        end_server(self.data)
        self.reap()

    def reap(self) -> None:
        """Clean up after our server was stopped from outside."""
        if self._cluster is not None and not self._cluster.is_running:
            self._cluster.stop()

    def end(self, *, hurried: Callable[[], bool]) -> None:
        """Stop the server for good, even if it was started from outside meanwhile."""
        end_server(self.data, hurried=hurried)
        self._held.close()
