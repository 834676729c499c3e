"""Where a rehearsal takes place: a directory, a PostgreSQL, a stock Kamailio, phones, and commands that are shown.

Knows how things are done and looked at; which, and in what order, is `steps`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.data import PASSWORD, REALM
from tests.benchmarks.load import Came, Wish
from tests.benchmarks.proxies import Proxy, Running, load
from tests.stand import confined
from tests.stand.postgres import Cluster, bin_directory
from tests.stand.process import Daemon, daemon, free_port, wait_until
from tests.stand.stock import StockProxy

HOST = "127.0.0.1"
DATABASE = "kamailio"
ACCOUNT = "acme"
# A phone gives up after timer F of RFC 3261 (32 s); this is sooner, and far more than a lock of ours may last.
PATIENCE_SECONDS = 16.0


class NotHeld(AssertionError):
    """What a step should show did not show."""


def hold(fact: object, what: str) -> None:
    """Go on only if that is so."""
    if not fact:
        raise NotHeld(what)


@dataclass
class Stage:
    """One rehearsal's things.

    Attributes:
        directory: everything is below it.
        bin: where the commands of the installation are.
        phones: how many.
        say: takes each line that the operator would see.
    """

    directory: Path
    postgres: Cluster
    proxy: StockProxy
    phones: int
    say: Callable[[str], None]
    bin: Path = field(default_factory=lambda: Path(sys.executable).parent)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The database, for its superuser."""
        return self.postgres.url(DATABASE)

    @property
    def environment_files(self) -> dict[str, Path]:
        """What the units read, by the name of the service."""
        return {name: self.directory / "etc" / "registrations" / f"{name}.env" for name in ("api", "sync")}

    # --- commands

    def run(self, *command: str | Path, expect: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """Run a command of the installation and return what it printed, also on standard error.

        Raises:
            NotHeld: it ended with another status.
        """
        shown = " ".join(str(word).replace(f"{self.directory}/", "") for word in command)
        self.say(f"   $ {shown}")
        variables = {"REGISTRATIONS_DATABASE_URL": self.url, **(environment or {})}
        result = subprocess.run(
            [self.bin / command[0], *command[1:]],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=300,
        )
        hold(result.returncode == expect, f"{shown} ended with status {result.returncode}:\n{result.stdout}")
        return result.stdout

    def read_environment(self, name: str) -> dict[str, str]:
        """The variables of a service's EnvironmentFile."""
        lines = self.environment_files[name].read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @contextmanager
    def service(self, name: str, ready: Callable[[], bool]) -> Iterator[Daemon]:
        """Run a service as its unit says, as far as that goes without systemd."""
        unit = self.run(f"registrations-{name}", "unit")
        started = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        hold(started, f"the unit of registrations-{name} starts nothing")
        assert started is not None
        command: list[str | Path] = [sys.executable, Path(confined.__file__), *started[1].split()]
        log = self.directory / f"{name}.log"
        with daemon(command, log=log, env=self.read_environment(name), ready=ready, name=name, grace=45) as running:
            yield running

    # --- phones

    @contextmanager
    def refreshing(self) -> Iterator[Running]:
        """All phones refresh, one after another, from the beginning to the end of the `with`; no REGISTER may fail."""
        rate = max(20.0, self.phones / 4)
        with self._load(Wish(phones=self.phones, seconds=3600, rate=rate, patience=PATIENCE_SECONDS)) as running:
            yield running
            came = running.end()
        _hold_all(came)
        self.say(f"   {came.count} REGISTERs meanwhile, each answered 200, the slowest in {came.worst * 1000:.0f} ms")

    def register_all(self) -> None:
        """Each phone registers once."""
        with self._load(Wish(phones=self.phones, patience=PATIENCE_SECONDS)) as running:
            came = running.result()
        _hold_all(came)
        hold(came.count == self.phones, f"{came.count} of {self.phones} phones are registered")

    def restart(self) -> None:
        """Restart Kamailio while phones go on: what they send meanwhile is lost, and only that."""
        rate = max(20.0, self.phones / 4)
        with self._load(Wish(phones=self.phones, seconds=3600, rate=rate, patience=1.0)) as running:
            self.proxy.stop()
            self.proxy.start()
            came = running.end()
        self.say(
            f"   Kamailio was away: {came.lost} REGISTERs lost, {came.refused} refused until phones had a new nonce"
        )
        self.register_all()

    @contextmanager
    def _load(self, wish: Wish) -> Iterator[Running]:
        with load(Proxy(self.proxy.port), wish) as running:
            yield running

    # --- what stands

    def rows(self) -> int:
        """Rows of location."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute("select count(*) from location").fetchone()
        assert row is not None
        return int(row[0])

    def execute(self, *queries: str) -> None:
        """Execute statements as the operator would by psql."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for query in queries:
                self.say(f"   psql: {re.sub(r'password .*', 'password ...', query)}")
                connection.execute(query.encode())

    def schema(self) -> str:
        """All that pg_dump knows of the schema, privileges too; without what is random in it."""
        dumped = subprocess.run(
            [bin_directory() / "pg_dump", "--schema-only", self.url],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)

    def ask(self, method: str, path: str, token: str) -> Any:
        """Ask the API; returns the envelope."""
        connection = HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, headers={"X-Auth-Token": token})
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        hold(reply.status == 200, f"{method} {path} was answered {reply.status} {body[:300]!r}")
        return json.loads(body)

    def answers(self) -> bool:
        """Whether the API is ready."""
        connection = HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def _hold_all(came: Came) -> None:
    hold(not came.refused, f"{came.refused} REGISTERs were refused: {came.refusal}")
    hold(not came.lost, f"{came.lost} REGISTERs were not answered within {PATIENCE_SECONDS:.0f} s")


__all__ = ["ACCOUNT", "DATABASE", "PASSWORD", "REALM", "NotHeld", "Stage", "hold", "wait_until"]
