"""The stage of a rehearsal: a directory, a PostgreSQL, a stock Kamailio, phones, and commands that are printed.

This module knows how to do and to check each thing. `steps` knows the order.
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
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.load import Came, Wish
from tests.benchmarks.proxies import Proxy, Running, load
from tests.stand import confined
from tests.stand.postgres import Cluster, bin_directory
from tests.stand.process import Daemon, daemon, free_port
from tests.stand.stock import StockProxy

HOST = "127.0.0.1"
DATABASE = "kamailio"
ACCOUNT = "acme"
# Less than timer F of RFC 3261 (32 s), after which a phone gives up, and far more than any lock of ours may last.
PATIENCE_SECONDS = 16.0


class NotHeld(AssertionError):
    """A step did not have the expected result."""


def hold(fact: object, what: str) -> None:
    """Raise NotHeld unless the fact is true."""
    if not fact:
        raise NotHeld(what)


@dataclass
class Stage:
    """Everything that one rehearsal uses.

    Attributes:
        directory: all files are below it.
        bin: directory of the installed commands.
        phones: number of phones.
        say: called with each line of output.
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
        """URL of the database for the superuser."""
        return self.postgres.url(DATABASE)

    @property
    def environment_files(self) -> dict[str, Path]:
        """The EnvironmentFile of each unit, by the name of the service."""
        return {name: self.directory / "etc" / "registrations" / f"{name}.env" for name in ("api", "sync")}

    # --- commands

    def run(self, *command: str | Path, expect: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """Run an installed command and return what it printed to standard output and standard error.

        Raises:
            NotHeld: its exit status was not the expected one.
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
        hold(result.returncode == expect, f"{shown} exited with status {result.returncode}:\n{result.stdout}")
        return result.stdout

    def read_environment(self, name: str) -> dict[str, str]:
        """Return the variables of a service's EnvironmentFile."""
        lines = self.environment_files[name].read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @contextmanager
    def service(self, name: str, ready: Callable[[], bool]) -> Iterator[Daemon]:
        """Run a service as its unit says, as far as possible without systemd."""
        unit = self.run(f"registrations-{name}", "unit")
        started = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        hold(started, f"the unit of registrations-{name} has no ExecStart")
        assert started is not None
        command: list[str | Path] = [sys.executable, Path(confined.__file__), *started[1].split()]
        log = self.directory / f"{name}.log"
        with daemon(command, log=log, env=self.read_environment(name), ready=ready, name=name, grace=45) as running:
            yield running

    # --- phones

    @contextmanager
    def refreshing(self) -> Iterator[Running]:
        """Let all phones refresh, one after another, inside the `with` block. No REGISTER may fail."""
        rate = max(20.0, self.phones / 4)
        with self._load(Wish(phones=self.phones, seconds=3600, rate=rate, patience=PATIENCE_SECONDS)) as running:
            yield running
            came = running.end()
        _hold_all(came)
        self.say(f"   {came.count} REGISTERs meanwhile, all answered 200, the slowest in {came.worst * 1000:.0f} ms")

    def register_all(self) -> None:
        """Register each phone once."""
        with self._load(Wish(phones=self.phones, patience=PATIENCE_SECONDS)) as running:
            came = running.result()
        _hold_all(came)
        hold(came.count == self.phones, f"only {came.count} of {self.phones} phones are registered")

    def restart(self) -> None:
        """Restart Kamailio while phones keep sending. Only what they send during the restart may be lost."""
        rate = max(20.0, self.phones / 4)
        with self._load(Wish(phones=self.phones, seconds=3600, rate=rate, patience=1.0)) as running:
            self.proxy.stop()
            self.proxy.start()
            came = running.end()
        self.say(
            f"   Kamailio restarted: {came.lost} REGISTERs lost, {came.refused} refused until phones had a new nonce"
        )
        self.register_all()

    @contextmanager
    def _load(self, wish: Wish) -> Iterator[Running]:
        with load(Proxy(self.proxy.port), wish) as running:
            yield running

    # --- state

    def rows(self) -> int:
        """Return the number of rows in location."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute("select count(*) from location").fetchone()
        assert row is not None
        return int(row[0])

    def execute(self, *queries: str) -> None:
        """Execute statements as the operator would with psql."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for query in queries:
                self.say(f"   psql: {re.sub(r'password .*', 'password ...', query)}")
                connection.execute(query.encode())

    def schema(self) -> str:
        """Return pg_dump's output for the schema with privileges, without the lines that are random."""
        dumped = subprocess.run(
            [bin_directory() / "pg_dump", "--schema-only", self.url],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)

    def ask(self, method: str, path: str, token: str) -> Any:
        """Ask the API and return the envelope."""
        connection = HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, headers={"X-Auth-Token": token})
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        hold(reply.status == 200, f"{method} {path} returned {reply.status} {body[:300]!r}")
        return json.loads(body)


def _hold_all(came: Came) -> None:
    hold(not came.refused, f"{came.refused} REGISTERs were refused: {came.refusal}")
    hold(not came.lost, f"{came.lost} REGISTERs were not answered within {PATIENCE_SECONDS:.0f} s")
