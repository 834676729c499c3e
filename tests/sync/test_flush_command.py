"""`registrations-sync flush`: a flush on the shell, with what became of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import COMMAND, StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(database: psycopg.Connection, postgres: Cluster) -> Run:
    """Run registrations-sync with the rights of the worker's role; keyword arguments are variables."""
    url = postgres.url(database.info.dbname, user="registrations_sync")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, **environment}
        return subprocess.run(
            [*COMMAND, *arguments], env=variables, capture_output=True, text=True, check=False, timeout=60
        )

    return run


@pytest.fixture
def registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> Iterator[Proxy]:
    """A proxy at which alice and bob are registered."""
    proxy = start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))
    with ExitStack() as phones:
        for username, realm in (("Alice", "reseller.test"), ("bob", "child.test")):
            phone = phones.enter_context(Phone(username, realm, "secret", proxy=proxy.sip))
            assert phone.register().status == 200
        yield proxy


def _registered(proxy: Proxy) -> set[str]:
    with proxy.rpc() as rpc:
        return {name for name in ("alice@reseller.test", "bob@child.test") if usrloc.lookup(rpc, name)}


def test_one_username_is_flushed(run: Run, registrar: Proxy, database: psycopg.Connection) -> None:
    """It says how many, and leaves the others alone; no worker is needed."""
    done = run("flush", "child", "BOB", REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url)
    assert (done.returncode, done.stdout.split(": ")[1]) == (0, "1 of 1 flushed, 0 pending\n"), done.stderr
    assert _registered(registrar) == {"alice@reseller.test"}
    row = database.execute("select cause, username, finished_at is not null from flush").fetchone()
    assert row == ("command", "bob", True)


def test_an_account_is_flushed(run: Run, registrar: Proxy) -> None:
    """All of its usernames."""
    assert run("flush", "reseller", REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url).returncode == 0
    assert _registered(registrar) == {"bob@child.test"}


@pytest.mark.parametrize(
    ("arguments", "said"), [(("child", "nobody"), "child"), (("nowhere",), "nowhere")], ids=["username", "account"]
)
def test_what_is_not_there_is_an_error_that_names_it(
    run: Run, directory: Directory, arguments: tuple[str, ...], said: str
) -> None:
    """One line, and nothing is promised."""
    failed = run("flush", *arguments)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_database_that_is_away_is_one_line(run: Run) -> None:
    """Who types a command is told at once; he has nothing of the worker's patience."""
    failed = run("flush", "child", REGISTRATIONS_DATABASE_URL="postgresql://127.0.0.1:1/kamailio")
    assert failed.returncode == 1
    assert "Connection refused" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_flush_that_cannot_be_done_now_is_left_to_the_worker(
    run: Run, registrar: Proxy, start_worker: StartWorker
) -> None:
    """Exit status 1 with what is pending; a worker that reaches Kamailio does the rest."""
    failed = run("flush", "child", REGISTRATIONS_KAMAILIO_RPC=NOWHERE)
    assert (failed.returncode, failed.stdout.split(": ")[1]) == (1, "0 of 1 flushed, 1 pending\n")
    assert "bob@child.test" in _registered(registrar)
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url)
    wait_until(lambda: "bob@child.test" not in _registered(registrar), 15, "the worker to flush bob")


def test_wait_stays_until_every_node_has_confirmed(run: Run, registrar: Proxy, start_worker: StartWorker) -> None:
    """Here it is the worker that gets through while the command itself cannot."""
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url)
    done = run("flush", "child", "--wait", REGISTRATIONS_KAMAILIO_RPC=NOWHERE)
    assert (done.returncode, done.stdout.split(": ")[1]) == (0, "1 of 1 flushed, 0 pending\n"), done.stderr
