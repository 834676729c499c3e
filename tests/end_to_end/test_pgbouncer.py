"""API, worker and commands behind a real PgBouncer. Session mode works; the other modes are refused with the reason."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from tests.demo.content import program
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE
from tests.fixtures.location import AddBinding
from tests.fixtures.server import HOST, StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.pgbouncer import pgbouncer
from tests.stand.postgres import Cluster
from tests.stand.process import daemon, free_port, port_taken, wait_until

LIST = "/v2/accounts/child/registrations"
SHARED = ["pool_mode = transaction", "pool_mode = transaction\nserver_round_robin = 1", "pool_mode = statement"]


def _url(port: int, database: psycopg.Connection, role: str) -> str:
    return f"postgresql://{role}@127.0.0.1:{port}/{database.info.dbname}"


def _ask(port: int, path: str, *, token: str = "", method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(method, path, headers={"X-Auth-Token": token})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _ask_much(port: int, token: str) -> set[int]:
    """Return the statuses of 200 lists and counts, sent 8 at a time."""
    with ThreadPoolExecutor(8) as threads:
        paths = [LIST, f"{LIST}/count"] * 100
        return set(threads.map(lambda path: _ask(port, path, token=token)[0], paths))


def _run(command: list[str], url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(command[0]), *command[1:]],
        env={
            **os.environ,
            "REGISTRATIONS_DATABASE_URL": url,
            "REGISTRATIONS_KAMAILIO_RPC": NOWHERE,
            "REGISTRATIONS_API_BIND": f"{HOST}:{free_port()}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_session_mode_works(
    tmp_path: Path,
    postgres: Cluster,
    database: psycopg.Connection,
    directory: Directory,
    add_binding: AddBinding,
    start_server: StartServer,
    start_worker: StartWorker,
) -> None:
    """Lists, counts, flushes, a leading worker and a command work. Clients share the same sessions in turn."""
    add_binding("bob", "child.test")
    with pgbouncer(tmp_path / "pooler", postgres, pool_mode="session") as port:
        worker = start_worker(REGISTRATIONS_DATABASE_URL=_url(port, database, "registrations_sync"))
        api = start_server(database_url=_url(port, database, "registrations_api"), api_rate_burst="0")
        token = directory.tokens["child"]
        assert _ask_much(api.port, token) == {200}
        assert _ask(api.port, f"{LIST}/bob", method="DELETE", token=token)[0] == 200
        enriched = "select 1 from location where enriched_at is not null"
        wait_until(lambda: database.execute(enriched).fetchone(), 10, "the worker")
        assert "became leader" in worker.log_text()
        for _ in range(3):
            listed = _run(["registrations-db", "token", "list"], _url(port, database, "postgres"))
            assert (listed.returncode, listed.stderr) == (0, "")
        assert _run(["registrations-db", "migrate"], _url(port, database, "postgres")).returncode == 0


@pytest.fixture(params=SHARED, ids=["transaction", "round robin", "statement"])
def pooler(request: pytest.FixtureRequest, tmp_path: Path, postgres: Cluster) -> Iterator[int]:
    """The port of a PgBouncer that assigns a session for less than a client's connection."""
    pool_mode, _, settings = request.param.removeprefix("pool_mode = ").partition("\n")
    with pgbouncer(tmp_path / "pooler", postgres, pool_mode=pool_mode, settings=settings) as port:
        yield port


@pytest.mark.parametrize(
    ("role", "command"),
    [
        ("registrations_api", ["registrations-api", "serve"]),
        ("registrations_sync", ["registrations-sync", "run"]),
        ("registrations_sync", ["registrations-sync", "once"]),
        ("postgres", ["registrations-db", "migrate"]),
        ("postgres", ["registrations-db", "token", "list"]),
        ("postgres", ["registrations-db", "check"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_another_mode_is_refused(
    pooler: int, database: psycopg.Connection, role: str, command: list[str], directory: Directory
) -> None:
    """Each command refuses it in one line that says what to do, and leaves no lock or setting behind."""
    assert directory.tokens
    ended = _run(command, _url(pooler, database, role))
    assert ended.returncode == (3 if command[-1] == "check" else 1)
    assert "pool_mode=session" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    locks = database.execute("select count(*) from pg_locks where locktype = 'advisory' and granted").fetchone()
    assert locks == (0,)
    with psycopg.connect(_url(pooler, database, role), autocommit=True) as other:
        for setting in (
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "jit",
            "plan_cache_mode",
            "search_path",
        ):
            query = "select setting, reset_val from pg_settings where name = %s"
            row = other.execute(query, (setting,), prepare=False).fetchone()
            assert row is not None
            assert row[0] == row[1], setting


def test_a_check_tells_of_it(pooler: int, database: psycopg.Connection) -> None:
    """It is a fault with its remedy, beside the findings about Kamailio."""
    told = _run(["registrations-sync", "check"], _url(pooler, database, "registrations_sync"))
    assert told.returncode == 2
    assert "FAULT    pooler: " in told.stdout
    assert "pool_mode=session" in told.stdout


def _is_live(port: int) -> bool:
    return port_taken(HOST, port) and _ask(port, "/live")[0] == 200


@pytest.mark.parametrize("pool_mode", ["transaction", "statement"])
def test_what_started_before_the_pooler_does_not_work_by_halves(
    tmp_path: Path, postgres: Cluster, database: psycopg.Connection, directory: Directory, pool_mode: str
) -> None:
    """The API answers 503 to everything and logs the reason. The worker exits."""
    port, listening = free_port(), free_port()
    log = tmp_path / "api.log"
    environment = {
        "REGISTRATIONS_DATABASE_URL": _url(port, database, "registrations_api"),
        "REGISTRATIONS_KAMAILIO_RPC": NOWHERE,
        "REGISTRATIONS_DATABASE_CONNECT_TIMEOUT": "1",
        "REGISTRATIONS_API_BIND": f"{HOST}:{listening}",
        "REGISTRATIONS_API_WORKERS": "1",
        "REGISTRATIONS_API_RATE_BURST": "0",
    }
    of_worker = {"REGISTRATIONS_DATABASE_URL": _url(port, database, "registrations_sync")}
    serve: list[str | Path] = [program("registrations-api"), "serve"]
    run: list[str | Path] = [program("registrations-sync"), "run"]
    worker_log = tmp_path / "worker.log"
    with (
        daemon(serve, log=log, env=environment, ready=lambda: _is_live(listening)),
        daemon(
            run,
            log=worker_log,
            env={**environment, **of_worker},
            ready=lambda: worker_log.exists() and "database unreachable" in worker_log.read_text(),
        ) as worker,
        pgbouncer(tmp_path / "pooler", postgres, pool_mode=pool_mode, port=port),
    ):
        assert _ask_much(listening, directory.tokens["child"]) == {503}
        assert "pool_mode=session" in log.read_text()
        assert worker.process.wait(timeout=30) == 1
        assert "pool_mode=session" in worker.log_text()
        assert "Traceback" not in worker.log_text() + log.read_text()
