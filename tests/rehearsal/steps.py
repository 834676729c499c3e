"""The steps of an adoption in detail, one after another while phones refresh, each with its expected result."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.benchmarks.data import PASSWORD, REALM
from tests.fixtures.kamdbctl import create_by_kamdbctl
from tests.rehearsal.stage import ACCOUNT, DATABASE, NotHeld, Stage, hold
from tests.stand.postgres import cluster
from tests.stand.process import answers_http, wait_until
from tests.stand.stock import STOCK, stock_proxy

ROOT = Path(__file__).parents[2]
# The operator's own edit. With the stock value 2 a REGISTER does not touch the table, so that no lock could delay it.
EDITS = {'modparam("usrloc", "db_mode", 2)': 'modparam("usrloc", "db_mode", 1)'}
LIST = f"/v2/accounts/{ACCOUNT}/registrations"
PIP = ("--disable-pip-version-check", "--no-input", "--root-user-action=ignore", "--quiet")


class Rehearsal:
    """Takes the steps on one stage. Each prints its number and title first."""

    def __init__(self, stage: Stage, running: ExitStack) -> None:
        self._stage = stage
        self._services = running
        self._stock_schema = ""
        self._stock_text = b""
        self._token = ""
        self.taken = 0

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self.taken += 1
        self._stage.say(f"{self.taken}. {title}")
        try:
            yield
        except NotHeld as error:
            raise NotHeld(f"step {self.taken}, {title}: {error}") from error
        except Exception as error:
            raise NotHeld(f"step {self.taken}, {title}: {type(error).__name__}: {error}") from error

    def take_all(self, *, install: bool) -> int:
        """Take every step.

        Args:
            install: whether to install into a new virtual environment. Otherwise this one's commands are used.

        Returns:
            The number of steps.

        Raises:
            NotHeld: names the step that failed, and why.
        """
        self._stand()
        if install:
            self._install()
        self._migrate()
        self._patch()
        self._import()
        self._run_units()
        self._check()
        self._read()
        self._flush()
        self._leave_kamailio()
        self._leave_database()
        return self.taken

    def _stand(self) -> None:
        stage = self._stage
        with self._step(f"a stock Kamailio on a database of kamdbctl, {stage.phones} phones registered"):
            create_by_kamdbctl(stage.postgres, DATABASE)
            with psycopg.connect(stage.url) as connection, connection.cursor() as cursor:
                cursor.executemany(
                    "insert into subscriber (username, domain, password) values (%s, %s, %s)",
                    [(f"u{number}", REALM, PASSWORD) for number in range(1, stage.phones + 1)],
                )
            self._stock_schema, self._stock_text = stage.schema(), stage.proxy.configuration.read_bytes()
            stage.proxy.start()
            stage.register_all()
            hold(stage.rows() == stage.phones, f"location has {stage.rows()} rows")

    def _install(self) -> None:
        stage = self._stage
        with self._step("install into a new virtual environment, while phones refresh"), stage.refreshing():
            home = stage.directory / "opt" / "registrations"
            commands: list[list[str | Path]] = [
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", stage.directory / "wheel"],
                [sys.executable, "-m", "venv", home],
            ]
            for command in commands:
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
            (wheel,) = (stage.directory / "wheel").glob("*.whl")
            stage.bin = home / "bin"
            stage.run("pip", "install", *PIP, wheel)

    def _migrate(self) -> None:
        stage = self._stage
        with self._step("migrate --dry-run changes nothing"):
            said = stage.run("registrations-db", "migrate", "--dry-run")
            stage.say(f"   {said.splitlines()[-1]}")
            hold(stage.schema() == self._stock_schema, "the schema has changed")
        with self._step("migrate, while phones refresh"), stage.refreshing():
            stage.run("registrations-db", "migrate")
            hold(
                stage.run("registrations-db", "migrate", "--dry-run") == "the schema is current\n",
                "the schema is not current",
            )
            hold(stage.rows() == stage.phones, f"location has {stage.rows()} rows")
            stage.execute("grant registrations_kamailio to kamailio")

    def _patch(self) -> None:
        stage = self._stage
        path = stage.proxy.configuration
        with self._step("patch kamailio.cfg, while phones refresh"), stage.refreshing():
            stage.run("registrations-kamailio", "patch", "--check", path, expect=1)
            said = stage.run("registrations-kamailio", "patch", path)
            added = sum(line.startswith("+") and not line.startswith("+++") for line in said.splitlines())
            stage.say(f"   {added} lines added, none changed")
            hold(path.read_bytes() == self._stock_text, "patch changed the file without --write")
            stage.run("registrations-kamailio", "patch", "--write", path)
            stage.run("registrations-kamailio", "patch", "--check", path)
        with self._step("restart Kamailio with the edits, in its time zone: every phone is still registered"):
            unit = stage.run("registrations-kamailio", "unit")
            stage.proxy.environment.update(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
            stage.restart()
            hold(stage.rows() == stage.phones, f"location has {stage.rows()} rows")

    def _import(self) -> None:
        stage = self._stage
        with self._step("import a directory, while phones refresh"), stage.refreshing():
            accounts, devices = stage.directory / "accounts.csv", stage.directory / "devices.csv"
            accounts.write_text(f"id,name,realm\n{ACCOUNT},Acme,{REALM}\n", encoding="utf-8")
            with devices.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["id", "account_id", "sip_username"])
                writer.writerows([f"d{each}", ACCOUNT, f"u{each}"] for each in range(1, stage.phones + 1))
            stage.run("registrations-db", "import", accounts, devices)

    def _run_units(self) -> None:
        stage = self._stage
        with self._step("start worker and API as their units do"):
            for name, path in stage.environment_files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
                path.write_text(
                    f"REGISTRATIONS_DATABASE_URL={stage.postgres.url(DATABASE, user=f'registrations_{name}')}\n"
                    f"REGISTRATIONS_KAMAILIO_RPC={stage.proxy.rpc_url}\n"
                    + (f"REGISTRATIONS_API_BIND=127.0.0.1:{stage.port}\n" if name == "api" else ""),
                    encoding="utf-8",
                )
            log = stage.directory / "sync.log"
            self._services.enter_context(
                stage.service("sync", lambda: log.exists() and "action=lead" in log.read_text(encoding="utf-8"))
            )
            self._services.enter_context(stage.service("api", lambda: answers_http(stage.port)))
            said = stage.run("registrations-db", "token", "create", ACCOUNT)
            self._token = said.splitlines()[-1]
            wait_until(lambda: self._enriched() == stage.phones, 60, "all rows to be enriched")

    def _enriched(self) -> int:
        with psycopg.connect(self._stage.url) as connection:
            row = connection.execute("select count(*) from registrations where authorizing_id <> ''").fetchone()
        assert row is not None
        return int(row[0])

    def _check(self) -> None:
        stage = self._stage
        if os.geteuid() == 0:  # it was started as root, so we give its socket the group that Debian's unit gives it
            stage.proxy.runtime.chmod(0o755)
            shutil.chown(stage.proxy.runtime / "kamailio_rpc.sock", group="kamailio")
        with self._step("check finds nothing, while phones refresh"), stage.refreshing():
            stage.run("registrations-db", "check")
            stage.run("registrations-sync", "check", environment=stage.read_environment("sync"))

    def _read(self) -> None:
        stage = self._stage
        with self._step("list and count, while phones refresh"), stage.refreshing():
            listed = stage.ask("GET", LIST, self._token)["data"]
            names = {each["username"] for each in listed}
            hold(len(listed) == len(names) == stage.phones, f"the list has {len(listed)} of {len(names)} phones")
            hold({each["realm"] for each in listed} == {REALM}, "a phone is in another realm")
            count = stage.ask("GET", f"{LIST}/count", self._token)["data"]["count"]
            hold(count == stage.phones, f"the count is {count}")
            stage.say(f"   {len(listed)} registrations listed and counted")

    def _flush(self) -> None:
        stage = self._stage
        with self._step("flush one phone, then all: they are gone, and register again"):
            flushed = stage.ask("DELETE", f"{LIST}/u1?check_sync=false", self._token)
            hold((flushed["flushed"], flushed["pending"]) == (1, 0), f"flush of u1: {flushed}")
            flushed = stage.ask("DELETE", LIST, self._token)
            hold((flushed["flushed"], flushed["pending"]) == (stage.phones - 1, 0), f"flush of all: {flushed}")
            count = stage.ask("GET", f"{LIST}/count", self._token)["data"]["count"]
            hold((count, stage.rows()) == (0, 0), f"the count is {count}, location has {stage.rows()} rows")
            with stage.refreshing():
                wait_until(lambda: stage.rows() == stage.phones, 120, "every phone to come back")
            count = stage.ask("GET", f"{LIST}/count", self._token)["data"]["count"]
            hold(count == stage.phones, f"the count is {count}")

    def _leave_kamailio(self) -> None:
        stage = self._stage
        path = stage.proxy.configuration
        with self._step("undo the edits byte for byte, while phones refresh"), stage.refreshing():
            stage.run("registrations-kamailio", "patch", "--undo", "--write", path)
            hold(path.read_bytes() == self._stock_text, "kamailio.cfg differs from the original")
            hold(not path.with_name("registrations.cfg").exists(), "registrations.cfg is still there")
        with self._step("restart Kamailio without the edits: every phone is still registered"):
            stage.restart()
            hold(stage.rows() == stage.phones, f"location has {stage.rows()} rows")

    def _leave_database(self) -> None:
        stage = self._stage
        with self._step("stop worker and API and uninstall, while phones refresh"), stage.refreshing():
            self._services.close()
            stage.run("registrations-db", "uninstall")
            stage.run("registrations-db", "uninstall", "--yes")
            hold(stage.schema() == self._stock_schema, "the schema differs from the one that kamdbctl made")
            hold(stage.rows() == stage.phones, f"location has {stage.rows()} rows")


def rehearse(directory: Path, *, phones: int, install: bool, say: Callable[[str], None]) -> int:
    """Take all steps, with every file in the directory; return the number of steps.

    Raises:
        NotHeld: names the step that failed, and why.
    """
    say(f"rehearsing with {STOCK}; all files are below {directory}")
    with cluster(directory / "postgres") as postgres:
        url = postgres.url(DATABASE, user="kamailio")
        stock = stock_proxy(
            directory / "etc" / "kamailio", database_url=url, realm=REALM, features=["WITH_AUTH"], edits=EDITS
        )
        with stock as proxy, ExitStack() as services:
            stage = Stage(directory, postgres, proxy, phones, say)
            return Rehearsal(stage, services).take_all(install=install)
