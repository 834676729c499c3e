"""A private PostgreSQL cluster: initdb, start, stop, restart. The server ends with the `with` block.

It listens on loopback only, has no unix socket, and trusts every connection. This module does not know our schema.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.stand.process import Daemon, daemon, free_port

SUPERUSER = "postgres"
# PostgreSQL refuses to run as root, and its own user cannot enter a checkout or a temporary directory below /root.
# So it runs as that user with the capability that opens directories.
AS_POSTGRES = [
    "setpriv",
    "--reuid",
    "postgres",
    "--regid",
    "postgres",
    "--init-groups",
    "--pdeathsig",
    "INT",  # the kernel clears the signal that `daemon` set when the user changes
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--bounding-set=-all,+dac_override",
    "--securebits=+no_setuid_fixup",  # else access(2) ignores capabilities, and initdb does not find postgres
]
SETTINGS = {
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
}
UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off"}


def bin_directory(version: str | None = None) -> Path:
    """Return the directory of PostgreSQL's programs.

    Args:
        version: major version, from Debian or from `make ... POSTGRESQL=18`, which installs it beside this Python.
            Default: that of the variable POSTGRESQL, or else the newest one from Debian.

    Raises:
        FileNotFoundError: it is not installed.
    """
    version = version or os.environ.get("POSTGRESQL")
    if version:
        for place in (Path("/usr/lib/postgresql"), Path(sys.prefix, "postgresql")):
            if (place / version / "bin" / "postgres").exists():
                return place / version / "bin"
        raise FileNotFoundError(f"PostgreSQL {version} is missing: `make setup POSTGRESQL={version}` installs it")
    installed = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")),
        key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))],
    )
    if installed:
        return installed[-1]
    on_path = shutil.which("postgres")
    if on_path is None:
        raise FileNotFoundError("no PostgreSQL server: neither /usr/lib/postgresql/*/bin nor PATH has one")
    return Path(on_path).resolve().parent


class Cluster:
    """A cluster that can be started, stopped and restarted within one `with`."""

    user = SUPERUSER

    def __init__(
        self, directory: Path, *, host: str, port: int, settings: Mapping[str, str], env: Mapping[str, str]
    ) -> None:
        self.directory = directory
        self.host = host
        self.port = port
        self.log = directory / "postgres.log"
        self._data = directory / "data"
        self._settings = settings
        self._env = env
        self._running = contextlib.ExitStack()
        self._daemon: Daemon | None = None

    @property
    def is_running(self) -> bool:
        """Whether the server runs."""
        return self._daemon is not None and self._daemon.is_running()

    @property
    def pid(self) -> int:
        """Process ID of the postmaster.

        Raises:
            RuntimeError: it is stopped.
        """
        if self._daemon is None:
            raise RuntimeError("PostgreSQL is stopped")
        return self._daemon.pid

    def url(self, dbname: str = "postgres", *, user: str = SUPERUSER) -> str:
        """Return a connection URL that psycopg and Kamailio both understand (no options, no password)."""
        return f"postgresql://{quote(user)}@{self.host}:{self.port}/{quote(dbname)}"

    def kamailio_url(self, dbname: str, *, user: str = SUPERUSER) -> str:
        """Return the URL as Kamailio writes it: the scheme names its module db_postgres."""
        return f"postgres://{user}@{self.host}:{self.port}/{dbname}"

    def start(self) -> None:
        """Start it unless it runs, and return once it answers queries."""
        if self.is_running:
            return
        self._running.close()
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = as_postgres([bin_directory() / "postgres", "-D", self._data, "-p", str(self.port), *options])
        self._daemon = self._running.enter_context(
            daemon(
                command,
                log=self.log,
                ready=self._answers,
                name="postgres",
                cwd=Path("/"),
                env={"LC_ALL": "C.UTF-8", **self._env},
                stop_signal=signal.SIGINT,  # "fast": clients are thrown out, nothing is lost
                grace=30,
            )
        )

    def stop(self) -> None:
        """Shut it down (fast): connections break, and its port refuses new ones."""
        self._running.close()
        self._daemon = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep it stopped inside the `with` block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def promote(self) -> None:
        """Promote a replica and return once it takes writes."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("select pg_promote()")

    def freeze(self) -> None:
        """Stop all its processes by SIGSTOP. It accepts connections and never answers, like a dead host."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        # Each backend leads its own session, so there is no process group to signal.
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        for pid in (self.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _answers(self) -> bool:
        return (
            subprocess.run(
                [bin_directory() / "pg_isready", "-q", "-h", self.host, "-p", str(self.port), "-U", SUPERUSER],
                check=False,
                timeout=10,
            ).returncode
            == 0
        )


@contextlib.contextmanager
def cluster(
    directory: Path,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    settings: Mapping[str, str] | None = None,
    durable: bool = False,
    locale: str = "C.UTF-8",
    initdb: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Run a cluster inside the `with` block. Its data stay in `directory`.

    Args:
        directory: created if missing; a cluster that is there already is used again.
        port: TCP port; default: a free one.
        host: loopback address to listen on.
        settings: of postgresql.conf; they override SETTINGS.
        durable: with fsync, for benchmarks and for tests that cut the power.
        locale: for messages and collation.
        initdb: further options of initdb for a new cluster.
        env: further variables for the server.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
        DaemonFailed: it did not start; the message has the tail of its log.
        subprocess.CalledProcessError: initdb failed.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    merged = {**SETTINGS, **({} if durable else UNSAFE_BUT_FAST), "listen_addresses": host, **(settings or {})}
    server = Cluster(directory, host=host, port=port or free_port(host), settings=merged, env=env or {})
    is_new = not (directory / "data" / "PG_VERSION").exists()
    if is_new:
        _initdb(directory / "data", [f"--locale={locale}", *initdb], env or {})
    try:
        server.start()
        if is_new:
            with psycopg.connect(server.url("template1")) as connection:
                # PostgreSQL 14 still grants this to everybody, and `check` warns of it.
                connection.execute("revoke create on schema public from public")
        yield server
    finally:
        if server.is_running:
            server.thaw()
        server.stop()


@contextlib.contextmanager
def replica(directory: Path, *, of: Cluster) -> Iterator[Cluster]:
    """Run a hot standby of a cluster inside the `with` block.

    Args:
        directory: must not hold a cluster yet.
        of: the primary; it must run.
    """
    directory = directory.resolve()
    data = directory / "data"
    _make_data_directory(data)
    command: list[str | Path] = [
        bin_directory() / "pg_basebackup",
        f"--pgdata={data}",
        f"--dbname={of.url()}",
        "--write-recovery-conf",
        "--checkpoint=fast",
        "--no-sync",
    ]
    subprocess.run(as_postgres(command), check=True, cwd="/")
    # Overrides the setting that pg_basebackup writes: the server may run with an older libpq that does not know it all.
    primary = f"host={of.host} port={of.port} user={SUPERUSER}"
    settings = {**SETTINGS, **UNSAFE_BUT_FAST, "listen_addresses": of.host, "primary_conninfo": primary}
    standby = Cluster(directory, host=of.host, port=free_port(of.host), settings=settings, env={})
    try:
        standby.start()
        yield standby
    finally:
        standby.stop()


def _make_data_directory(data: Path) -> None:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        postgres = pwd.getpwnam("postgres")
        os.chown(data, postgres.pw_uid, postgres.pw_gid)


def _initdb(data: Path, options: Sequence[str], env: Mapping[str, str]) -> None:
    _make_data_directory(data)
    subprocess.run(
        as_postgres(
            [
                bin_directory() / "initdb",
                f"--pgdata={data}",
                f"--username={SUPERUSER}",
                "--encoding=UTF8",
                *options,
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
            ]
        ),
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, **env},
    )


def as_postgres(command: list[str | Path]) -> list[str | Path]:
    """Return the command as run by the user postgres if we are root: PostgreSQL and PgBouncer refuse to run as root."""
    return [*AS_POSTGRES, *command] if os.geteuid() == 0 else command
