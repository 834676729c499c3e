"""An upgrade of a running site: the previous release goes on while its database is migrated under it, and afterwards.

The previous release is that of the newest tag; before there was one, the commit before the newest migration.
UPGRADE_FROM names another commit. It runs with today's dependencies, and Kamailio with its configuration.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sql.schema.migrate import migrate, missing_migrations
from sql.settings import DatabaseSettings
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.server import StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy, kamailio_is_at_least
from tests.stand.phone import Fleet, Phone
from tests.stand.postgres import Cluster
from tests.stand.process import Daemon, daemon, free_port, port_taken, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PHONES = 10
ROOMS = ("api", "kamailio", "sql", "sync")


def _git(*arguments: str) -> bytes:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False, timeout=60)
    if result.returncode:
        pytest.skip(f"no previous release: git {' '.join(arguments)}: {result.stderr.decode().strip()}")
    return result.stdout


def _previous_commit() -> str:
    """Of the previous release, or what stands for it."""
    if wanted := os.environ.get("UPGRADE_FROM"):
        return wanted
    head = _git("rev-parse", "--is-shallow-repository")
    if head.strip() != b"false":
        pytest.skip("no previous release: this clone is shallow")
    if tags := _git("tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname").decode().split():
        return tags[0]
    history = ("log", "-1", "--first-parent", "-m", "--diff-filter=A", "--format=%H")
    return f"{_git(*history, '--', 'sql/schema/migrations').decode().strip()}^"


@dataclass(frozen=True)
class Release:
    """An older version of ours, unpacked, on one database."""

    directory: Path
    postgres: Cluster
    database: str

    def environment(self, role: str, **settings: str) -> dict[str, str]:
        url = self.postgres.url(self.database, user=role)
        return {"PYTHONPATH": str(self.directory), "REGISTRATIONS_DATABASE_URL": url, **settings}

    def command(self, room: str, *arguments: str | Path) -> list[str | Path]:
        """One of its three commands; the check is that it is its code that runs."""
        start = f"import sys, {room}.cli; assert {room}.__file__.startswith({str(self.directory)!r}); {room}.cli.main()"
        return [sys.executable, "-c", start, *arguments]

    def running(
        self, room: str, command: str, role: str, *, log: Path, **settings: str
    ) -> AbstractContextManager[Daemon]:
        """A daemon of its, for the time of a `with`."""
        environment = self.environment(role, **settings)
        return daemon(self.command(room, command), log=log, env=environment, cwd=self.directory)

    def run(self, room: str, *arguments: str | Path) -> str:
        result = subprocess.run(
            self.command(room, *arguments),
            env={**os.environ, **self.environment("postgres")},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture
def previous(postgres: Cluster, tmp_path: Path) -> Iterator[Release]:
    """The previous release on an empty database that it migrated itself."""
    directory, name = tmp_path / "previous", f"upgrade_{uuid4().hex}"
    directory.mkdir()
    archive = _git("archive", _previous_commit(), *ROOMS)
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive, check=True, timeout=60)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
        # Roles are the whole server's, and other tests expect them as today's release makes them.
        admin.execute(f"create database {name}_roles")
        migrate(DatabaseSettings(database_url=postgres.url(f"{name}_roles")))
        admin.execute(f"drop database {name}_roles with (force)")
    release = Release(directory, postgres, name)
    release.run("sql", "migrate")
    with psycopg.connect(postgres.url(name)) as connection:
        kind = (
            "select data_type from information_schema.columns where table_name = 'subscriber' and column_name = 'ha1'"
        )
        if connection.execute(kind).fetchone() == ("text",) and kamailio_is_at_least(6, 1):
            pytest.skip("no phone can register with the previous release on Kamailio 6.1")
    yield release
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(previous: Release) -> Iterator[psycopg.Connection]:
    """Its database, for the fixtures of today's parts, too."""
    with psycopg.connect(previous.postgres.url(previous.database), autocommit=True) as connection:
        yield connection


class Client:
    """A client of an API, that never meets an error."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token

    def ask(self, method: str, path: str = "") -> Any:
        path = f"/v2/accounts/acme/registrations{path}"
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        with closing(connection):
            connection.request(method, path, headers={"X-Auth-Token": self._token})
            response = connection.getresponse()
            body = response.read()
        assert response.status == 200, (method, path, body)
        return json.loads(body)["data"]

    def ask_all(self) -> None:
        """A list, a count, and a flush of one phone, which comes back by itself."""
        assert isinstance(self.ask("GET"), list)
        assert isinstance(self.ask("GET", "/count")["count"], int)
        assert self.ask("DELETE", "/phone0") == "ok"

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Asks for all of it again and again, and has once at the least when the `with` ends."""
        over = threading.Event()

        def ask_on() -> None:
            self.ask_all()
            while not over.is_set():
                self.ask_all()

        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(ask_on)
            try:
                yield
            finally:
                over.set()
            asked.result()


def _fill(previous: Release, directory: Path) -> str:
    """Import an account with phones; returns a token of it."""
    devices = [
        {"id": f"device{number}", "account_id": "acme", "sip_username": f"phone{number}", "password": "secret"}
        for number in range(PHONES + 1)
    ]
    account = {"id": "acme", "name": "Acme", "realm": "acme.test"}
    path = directory / "directory.json"
    path.write_text(json.dumps({"accounts": [account], "owners": [], "devices": devices}), encoding="utf-8")
    previous.run("sql", "import", path)
    return previous.run("sql", "token", "create", "acme", "--idle-lifetime", "0")


@pytest.fixture
def proxy(previous: Release, database: psycopg.Connection, start_kamailio: StartKamailio) -> Proxy:
    """Kamailio with the previous release's configuration, to which waiting half a second for a lock is an error."""
    role = "registrations_kamailio"
    database.execute(f"alter role {role} in database {previous.database} set lock_timeout = '500ms'")
    return start_kamailio(
        configuration=previous.directory / "kamailio" / "kamailio.cfg",
        database_url=previous.postgres.kamailio_url(previous.database, user=role),
    )


def test_the_previous_release_works_on_while_its_database_is_migrated(
    previous: Release,
    database: psycopg.Connection,
    proxy: Proxy,
    start_server: StartServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """No REGISTER fails or waits half a second for a lock; its API and worker serve on; then today's take over."""
    token = _fill(previous, tmp_path)
    port, rpc = free_port(), {"REGISTRATIONS_KAMAILIO_RPC": proxy.rpc_url}
    bind = {"REGISTRATIONS_API_BIND": f"127.0.0.1:{port}", "REGISTRATIONS_API_RATE_BURST": "0"}
    refused: list[str] = []
    phones = [_phone(number, proxy) for number in range(PHONES)]
    fleet = Fleet(phones, every=0.05, on_error=lambda phone, error: refused.append(f"{phone}: {error}"))
    with fleet:
        fleet.wait_until_registered(30)
        with (
            previous.running("sync", "run", "registrations_sync", log=tmp_path / "worker.log", **rpc) as worker,
            previous.running("api", "serve", "registrations_api", log=tmp_path / "api.log", **rpc, **bind) as api,
        ):
            wait_until(lambda: port_taken("127.0.0.1", port), 20, "the previous API")
            client = Client(port, token)
            with client.asking():
                migrate(DatabaseSettings(database_url=previous.postgres.url(previous.database)))
            assert missing_migrations(database) == []
            client.ask_all()
            with _phone(PHONES, proxy) as new:
                assert new.register().ok
                _wait_until_enriched(database, f"device{PHONES}", "the previous worker")
                assert new.unregister().ok
            assert [worker.stop(), api.stop()] == [0, 0]
        for each in (worker, api):
            assert not re.search("level=error|Traceback", each.log_text(), re.IGNORECASE), each.log_text()
        client = Client(start_server(proxy.rpc_url, api_rate_burst="0").port, token)
        start_worker(**rpc)
        client.ask_all()
        wait_until(lambda: len(client.ask("GET")) == PHONES, 20, "every phone to be back")
        _wait_until_enriched(database, "device0", "today's worker")
    assert refused == []
    assert "lock timeout" not in proxy.log


def _phone(number: int, proxy: Proxy) -> Phone:
    return Phone(f"phone{number}", "acme.test", "secret", proxy=proxy.sip)


def _wait_until_enriched(database: psycopg.Connection, device: str, whom: str) -> None:
    query = "select 1 from location where device_id = %s"
    wait_until(lambda: database.execute(query, (device,)).fetchone(), 20, f"{whom} to enrich {device}")
