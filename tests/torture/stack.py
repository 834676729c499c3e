"""The daemons of the torture. All are real and can be killed and restarted at any time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.demo.content import program
from tests.stand.kamailio import Proxy, kamailio
from tests.stand.postgres import cluster
from tests.stand.process import Daemon, answers_http, daemon, free_port

HOST, REALM, ACCOUNT, PASSWORD = "127.0.0.1", "torture.test", "torture", "secret"
USERNAMES = ("u0", "u1", "u2", "u3", "u4")
# Short intervals, so that retries happen within a round. No promise depends on them.
ENVIRONMENT = {
    "REGISTRATIONS_API_RATE_BURST": "0",
    "REGISTRATIONS_API_FLUSH_BUDGET": "5",
    "REGISTRATIONS_SYNC_ENRICH_INTERVAL": "0.1",
    "REGISTRATIONS_SYNC_FLUSH_INTERVAL": "0.1",
    "REGISTRATIONS_SYNC_FLUSH_LONGEST_PAUSE": "1",
    "REGISTRATIONS_SYNC_FLUSH_GRACE": "1",
}


class Process:
    """One of our programs, which can be killed and restarted."""

    def __init__(self, command: list[str | Path], *, log: Path, env: Mapping[str, str], ready: Callable[[], bool]):
        self._command, self._log, self._env, self._ready = command, log, env, ready
        self._running = ExitStack()
        self._daemon: Daemon | None = None

    def start(self) -> None:
        """Start it unless it runs, and return once it is ready."""
        if self._daemon is None:
            self._daemon = self._running.enter_context(
                daemon(self._command, log=self._log, env=self._env, ready=self._ready)
            )

    def kill(self) -> None:
        """Kill it and its children by SIGKILL. All have ended when this returns."""
        if self._daemon is not None:
            self._daemon.kill()
        self.stop()

    def stop(self) -> None:
        """Stop it by SIGTERM."""
        self._running.close()
        self._daemon = None


@dataclass(frozen=True, slots=True)
class Victim:
    """A daemon to kill and to start. Both functions return when that is done."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """The running daemons.

    Attributes:
        proxy: Kamailio.
        port: the API's port.
        token: a token for the account.
        victims: the daemons to kill.
        db_mode: usrloc's mode.
        database: a superuser's connection, in autocommit mode, for one thread.
    """

    proxy: Proxy
    port: int
    token: str
    victims: tuple[Victim, ...]
    db_mode: int
    database: psycopg.Connection


@contextmanager
def running(directory: Path, *, db_mode: int) -> Iterator[Stack]:
    """Run all daemons inside the `with` block.

    Args:
        directory: for the cluster and the logs.
        db_mode: usrloc's mode. In mode 2 Kamailio is stopped by SIGTERM instead of killed: a kill loses what it has not
            written yet, with or without flushes.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(cluster(directory / "postgres"))
        url = postgres.url()
        migrate(DatabaseSettings(database_url=url))
        database = stack.enter_context(psycopg.connect(url, autocommit=True))
        token = _fill(database, url)
        proxy = stack.enter_context(
            kamailio(
                directory / "kamailio",
                database_url=postgres.kamailio_url("postgres", user="registrations_kamailio"),
                db_mode=db_mode,
                children=4,
            )
        )
        port = free_port()
        common = {
            **ENVIRONMENT,
            "REGISTRATIONS_KAMAILIO_RPC": proxy.rpc_url,
            "REGISTRATIONS_KAMAILIO_DB_MODE": str(db_mode),
            "REGISTRATIONS_API_BIND": f"{HOST}:{port}",
        }
        api = Process(
            [program("registrations-api"), "serve"],
            log=directory / "api.log",
            env={**common, "REGISTRATIONS_DATABASE_URL": postgres.url(user="registrations_api")},
            ready=lambda: answers_http(port, "/live"),
        )
        worker_log = directory / "worker.log"
        worker = Process(
            [program("registrations-sync"), "run"],
            log=worker_log,
            env={**common, "REGISTRATIONS_DATABASE_URL": postgres.url(user="registrations_sync")},
            ready=worker_log.exists,
        )
        for process in (api, worker):
            process.start()
            stack.callback(process.stop)
        victims = (
            Victim("API", api.kill, api.start),
            Victim("worker", worker.kill, worker.start),
            Victim("Kamailio", proxy.stop if db_mode == 2 else proxy.kill, proxy.start),
        )
        yield Stack(proxy, port, token, victims, db_mode, database)


def _fill(database: psycopg.Connection, url: str) -> str:
    database.execute("insert into account (id, name, realm) values (%s, %s, %s)", (ACCOUNT, "Torture", REALM))
    for username in USERNAMES:
        ha1 = hashlib.md5(f"{username}:{REALM}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
        database.execute(
            "insert into device (id, account_id, sip_username, ha1) values (%s, %s, %s, %s)",
            (username, ACCOUNT, username, ha1),
        )
    with connect(DatabaseSettings(database_url=url), application_name="torture") as connection:
        return create_token(connection, ACCOUNT, idle_lifetime=None)[1]
