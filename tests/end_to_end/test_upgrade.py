"""An upgrade of a running site: the previous release keeps working while its database is migrated, and afterwards.

The previous release is that of the newest tag, or the commit that UPGRADE_FROM names; before there is one, this tree.
If today's has no more migrations than that, the test gives it two, so that something is always applied. The previous
release runs with today's dependencies, and Kamailio with its configuration.
"""

from __future__ import annotations

import json
import os
import re
import shutil
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

from sql.schema.migrate import migrate
from sql.schema.record import missing_migrations
from sql.settings import DatabaseSettings
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.migrations import release_tomorrow
from tests.fixtures.server import StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Fleet, Phone
from tests.stand.postgres import Cluster
from tests.stand.process import Daemon, daemon, free_port, port_taken, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PHONES = 10
ROOMS = ("api", "kamailio", "sql", "sync")
# Migrations of a later release: one that locks location, and an index that is built while the proxy runs.
TOMORROW = (
    "-- Locks location for some milliseconds.\n\nalter table location add column novelty text;\n",
    "-- Locks no table of Kamailio's.\n-- Runs outside a transaction.\n\n"
    "drop index concurrently if exists location_novelty_idx;\n\n"
    "create index concurrently location_novelty_idx on location (novelty);\n",
)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout


def _unpack_previous(directory: Path) -> None:
    """Unpack the previous release, or this tree if there is none."""
    wanted = os.environ.get("UPGRADE_FROM")
    if not wanted and (ROOT / ".git").exists():
        tags = _git("tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname").decode().split()
        wanted = tags[0] if tags else None
    if wanted:
        archive = _git("archive", wanted, *ROOMS)
        subprocess.run(["tar", "--extract", "--directory", directory], input=archive, check=True, timeout=60)
    else:
        for room in ROOMS:
            shutil.copytree(ROOT / room, directory / room, ignore=shutil.ignore_patterns("__pycache__"))


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
        """Return one of its three commands. It makes sure that the older code runs."""
        start = f"import sys, {room}.cli; assert {room}.__file__.startswith({str(self.directory)!r}); {room}.cli.main()"
        return [sys.executable, "-c", start, *arguments]

    def running(
        self, room: str, command: str, role: str, *, log: Path, **settings: str
    ) -> AbstractContextManager[Daemon]:
        """Run one of its daemons inside the `with` block."""
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
    _unpack_previous(directory)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
        # Roles are the whole server's, and other tests expect them as today's release makes them.
        admin.execute(f"create database {name}_roles")
        migrate(DatabaseSettings(database_url=postgres.url(f"{name}_roles")))
        admin.execute(f"drop database {name}_roles with (force)")
    release = Release(directory, postgres, name)
    release.run("sql", "migrate")
    yield release
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(previous: Release) -> Iterator[psycopg.Connection]:
    """A connection to its database, which today's fixtures use too."""
    with psycopg.connect(previous.postgres.url(previous.database), autocommit=True) as connection:
        yield connection


class Client:
    """A client of an API. Every request must succeed."""

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
        """Request a list, a count, and a flush of one phone, which then registers again."""
        assert isinstance(self.ask("GET"), list)
        assert isinstance(self.ask("GET", "/count")["count"], int)
        assert self.ask("DELETE", "/phone0") == "ok"

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Send all requests again and again inside the `with` block, at least once."""
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
    """Import an account with phones and return a token for it."""
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
    """Kamailio with the previous release's configuration. Waiting half a second for a lock is an error."""
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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No REGISTER fails or waits half a second for a lock. API and worker keep working until today's take over."""
    if not missing_migrations(database):
        release_tomorrow(monkeypatch, *TOMORROW)
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
                assert migrate(DatabaseSettings(database_url=previous.postgres.url(previous.database)))
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
