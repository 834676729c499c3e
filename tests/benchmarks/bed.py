"""The test bed of the benchmarks: one durable PostgreSQL, databases made on first use, servers and workers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
from psycopg import sql

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.access.tokens import create_token
from sql.connections.database import Database
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sync.jobs import Jobs
from sync.settings import SyncSettings
from tests.benchmarks.data import ROOT, Shape, fill
from tests.stand.postgres import Cluster, bin_directory, cluster
from tests.stand.process import Daemon, answers_http, daemon, free_port

HOST = "127.0.0.1"
ROWS = 1_000_000
PHONES = 10_000
NOWHERE = "http://127.0.0.1:1/RPC"
# Kamailio's SQL files that kamdbctl executes, in its order.
STOCK_DIRECTORY = Path("/usr/share/kamailio/postgres")
STOCK_SCHEMA = ("standard", "usrloc", "auth_db")
# The same for both sides, and the least that an operator with a million rows has set. A server that has run for days
# recycles its WAL files; a new one would create each file while phones wait.
POSTGRES = {"shared_buffers": "1GB", "max_wal_size": "4GB", "min_wal_size": "4GB", "checkpoint_timeout": "30min"}


@dataclass(frozen=True)
class Server:
    """A running API: its port, and its gunicorn."""

    port: int
    process: Daemon

    @property
    def workers(self) -> list[int]:
        """Process IDs of the workers that answer requests."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


class Bed:
    """Provides databases and daemons. It stores everything in its directory."""

    def __init__(self, directory: Path, postgres: Cluster, *, scale: float, say: Callable[[str], None]) -> None:
        self.directory = directory
        self.postgres = postgres
        self.scale = scale
        self.say = say
        self.tokens: dict[str, str] = {}
        self.tables: dict[str, Any] = {}
        self._made: set[str] = set()
        self._names = iter(range(1_000_000))

    def rows(self, count: int = ROWS) -> int:
        """Return a number of rows at this scale."""
        return max(10, round(count * self.scale))

    @property
    def phones(self) -> int:
        """Number of phones that really register."""
        return self.rows(PHONES)

    def seconds(self, count: float) -> float:
        """Return a duration at this scale."""
        return max(0.4, count * min(1.0, self.scale))

    def rounds(self, count: int) -> int:
        """Return a number of rounds at this scale."""
        return count if self.scale >= 0.05 else 1

    def path(self, name: str) -> Path:
        """Make and return a new directory."""
        path = self.directory / f"{name}-{next(self._names)}"
        path.mkdir()
        return path

    # --- databases

    def ours(self, name: str, shape: Callable[[], Shape], **options: Any) -> str:
        """Make a database with our schema unless it exists. Its token is in `tokens`."""
        if name not in self._made:
            shaped = shape()
            with self.saying(f"{name}: {sum(size for _, size in shaped):,} registrations of {len(shaped):,} accounts"):
                self.execute("create database {name}", name=name)
                migrate(DatabaseSettings(database_url=self.postgres.url(name)))
                with self.connect(name) as connection:
                    fill(connection, shaped, phones=self.phones, **options)
                    self.tokens[name] = create_token(connection, ROOT, idle_lifetime=None)[1]
            self._made.add(name)
        return name

    def stock(self, name: str, shape: Callable[[], Shape], **options: Any) -> str:
        """Make a database with the stock tables unless it exists."""
        if name not in self._made:
            shaped = shape()
            with self.saying(f"{name}: {sum(size for _, size in shaped):,} registrations in the stock table"):
                self.execute("create database {name}", name=name)
                with self.connect(name) as connection:
                    for part in STOCK_SCHEMA:
                        connection.execute((STOCK_DIRECTORY / f"{part}-create.sql").read_bytes())
                    fill(connection, shaped, phones=self.phones, stock=True, **options)
            self._made.add(name)
        return name

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[str]:
        """Copy a database that is not in use; drop the copy at the end of the `with` block."""
        copied = f"{name}_copy_{next(self._names)}"
        self.execute("create database {name} template {template} strategy file_copy", name=copied, template=name)
        if name in self.tokens:
            self.tokens[copied] = self.tokens[name]
        try:
            yield copied
        finally:
            self.drop(copied)

    def drop(self, name: str) -> None:
        """Drop a database after the last figure that needs it, to free its disk space."""
        self.execute("drop database {name} with (force)", name=name)
        self._made.discard(name)

    def connect(self, name: str) -> psycopg.Connection:
        """Return a connection as the superuser, in autocommit mode."""
        return psycopg.connect(self.postgres.url(name), autocommit=True)

    def execute(self, query: str, **names: str) -> None:
        """Execute a statement about databases; `names` are put in for its placeholders."""
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL(query).format(**{key: sql.Identifier(name) for key, name in names.items()}))

    def pgbench(self, name: str, script: Path, **options: str | int) -> str:
        """Run pgbench with a script and return its output."""
        command: list[str | Path] = [bin_directory() / "pgbench", "--no-vacuum", "--file", script]
        command += [f"--{option}={value}" for option, value in options.items()]
        command += ["--host", HOST, "--port", str(self.postgres.port), "--username", self.postgres.user, name]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout

    # --- daemons

    @contextlib.contextmanager
    def api(
        self,
        name: str,
        *,
        rpc: str = NOWHERE,
        command: list[str | Path] | None = None,
        ready: str = "/ready",
        **settings: str | float,
    ) -> Iterator[Server]:
        """Serve the API with default settings but without rate limit, or another application on the same database."""
        port = free_port()
        environment = {
            "REGISTRATIONS_DATABASE_URL": self.postgres.url(name, user="registrations_api"),
            "REGISTRATIONS_KAMAILIO_RPC": rpc,
            "REGISTRATIONS_API_BIND": f"{HOST}:{port}",
            "REGISTRATIONS_API_RATE_BURST": "0",
            **{f"REGISTRATIONS_{key.upper()}": str(value) for key, value in settings.items()},
        }
        log = self.path("api") / "log"
        run: list[str | Path] = [self.program("registrations-api"), "serve"]
        if command:
            run = [*command, "--bind", f"{HOST}:{port}"]
        with daemon(run, log=log, env=environment, ready=lambda: answers_http(port, ready)) as served:
            yield Server(port, served)

    @contextlib.contextmanager
    def worker(self, name: str, *, rpc: str = NOWHERE, **settings: str | int) -> Iterator[Daemon]:
        """Run the worker with default settings except these."""
        log = self.path("worker") / "log"
        with daemon(
            [self.program("registrations-sync"), "run"],
            log=log,
            env={
                **self.worker_environment(name, rpc),
                **{f"REGISTRATIONS_{key.upper()}": str(value) for key, value in settings.items()},
            },
            ready=lambda: log.exists() and "action=lead" in log.read_text(encoding="utf-8"),
        ) as running:
            yield running

    def worker_environment(self, name: str, rpc: str = NOWHERE) -> Mapping[str, str]:
        """Return the variables for the worker's command."""
        url = self.postgres.url(name, user="registrations_sync")
        return {"REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": rpc}

    @contextlib.contextmanager
    def jobs(self, name: str, *, rpc: str = NOWHERE) -> Iterator[Jobs]:
        """Make the worker's jobs, to run one by one, with default settings and the rights of its role."""
        settings = SyncSettings()
        url = self.postgres.url(name, user="registrations_sync")
        with Database(
            DatabaseSettings(database_url=url),
            application_name="bench",
            pool_size=2,
            statement_timeout=settings.sync_statement_timeout,
        ) as database:
            yield Jobs(database, Nodes(KamailioSettings(kamailio_rpc=rpc)), settings)

    @staticmethod
    def program(name: str) -> Path:
        """Return the path of one of our commands, installed beside this Python."""
        return Path(sys.executable).with_name(name)

    # --- progress messages

    @contextlib.contextmanager
    def saying(self, what: str) -> Iterator[None]:
        """Print what the block does, a line every ten seconds while it runs, and how long it took."""
        self.say(f"{what} ...")
        started, done = perf_counter(), threading.Event()

        def remind() -> None:
            while not done.wait(10):
                self.say(f"  ... {perf_counter() - started:.0f} s")

        reminder = threading.Thread(target=remind, daemon=True)
        reminder.start()
        try:
            yield
        finally:
            done.set()
            reminder.join()
        self.say(f"  done in {perf_counter() - started:.1f} s")


@contextlib.contextmanager
def bed(directory: Path, *, scale: float, say: Callable[[str], None]) -> Iterator[Bed]:
    """Make the bed in a directory. It must be on a disk, not in memory, so that commits have their real cost."""
    settings = POSTGRES if scale >= 0.05 else {}
    with cluster(directory / "postgres", settings=settings, durable=True) as running:
        yield Bed(directory, running, scale=scale, say=say)
