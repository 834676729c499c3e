"""Secrets come from files and the environment. They appear on no command line, in no log and in no column."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import psycopg
import pytest
from psycopg import sql as psql

import api.cli
import sql.cli
import sync.cli
from tests.demo.content import program
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.server import StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.raw_http import exchange

DATABASE_PASSWORD = "correct-horse-battery-staple"
PHONE_PASSWORD = "open-sesame-Xy7"
API_KEY = "key-of-an-account-Qz3"
SECRET_WORDS = re.compile("password|passwd|secret|token|api_?key|ha1|credential|url|dsn", re.IGNORECASE)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, f"{path} {name}")


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Every user of the machine can read a command line, so no option or argument of ours is a password, key or URL.

    The exception is Kazoo's URL, which must not contain a user or a password (tests/sync/kazoo/test_importing.py).
    """
    asked = [
        (path, parameter.name)
        for main, name in ((api.cli.main, "api"), (sql.cli.main, "db"), (sync.cli.main, "sync"))
        for path, command in _commands(main, f"registrations-{name}")
        for parameter in command.params
    ]
    assert ("registrations-db token create", "account_id") in asked
    assert [each for each in asked if SECRET_WORDS.search(str(each[1]))] == [
        ("registrations-sync import-kazoo", "kazoo_url")
    ]


def _command_lines(group: int) -> list[bytes]:
    """Return the command lines of a process group, as every user can read them."""
    lines = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                if os.getpgid(int(directory.name)) == group:
                    lines.append((directory / "cmdline").read_bytes())
            except (ProcessLookupError, FileNotFoundError):
                continue
    return lines


def test_no_secret_is_on_a_command_line_in_a_log_or_in_a_column(
    database: psycopg.Connection,
    postgres: Cluster,
    start_kamailio: StartKamailio,
    start_server: StartServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """After an import, a REGISTER, a token request, a list and a flush no secret is visible to anybody else."""

    def url(role: str) -> str:
        return postgres.url(database.info.dbname).replace("postgres@", f"{role}:{DATABASE_PASSWORD}@")

    directory = tmp_path / "directory.json"
    account = {"id": "acme", "name": "Acme", "realm": "acme.test", "api_key": API_KEY}
    device = {"id": "desk", "account_id": "acme", "sip_username": "anna", "password": PHONE_PASSWORD}
    directory.write_text(json.dumps({"accounts": [account], "owners": [], "devices": [device]}), encoding="utf-8")
    imported = subprocess.run(
        [program("registrations-db"), "import", directory],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": url("postgres")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    proxy = start_kamailio(database_url=url("registrations_kamailio"))
    server = start_server(proxy.rpc_url, database_url=url("registrations_api"))
    worker = start_worker(
        REGISTRATIONS_DATABASE_URL=url("registrations_sync"), REGISTRATIONS_KAMAILIO_RPC=proxy.rpc_url
    )
    with Phone("anna", "acme.test", PHONE_PASSWORD, proxy=proxy.sip) as phone:
        assert phone.register().ok
        body = json.dumps({"data": {"api_key": API_KEY}}).encode()
        head = b"PUT /v2/api_auth HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        token = exchange(server.port, head % len(body) + body).json()["auth_token"]
        for method, status in ((b"GET", 200), (b"DELETE", 200), (b"POST", 405)):
            request = (
                b"%b /v2/accounts/acme/registrations?auth_token=%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            assert exchange(server.port, request % (method, token.encode())).status == status
    ha1 = hashlib.md5(f"anna:acme.test:{PHONE_PASSWORD}".encode(), usedforsecurity=False).hexdigest()
    secrets = {DATABASE_PASSWORD, PHONE_PASSWORD, API_KEY, token, ha1}
    running = {"Kamailio": proxy.pid, "API": server.process.pid, "worker": worker.pid}
    lines = {name: _command_lines(pid) for name, pid in running.items()}
    logs = {
        "Kamailio": proxy.log,
        "API": server.process.log_text(),
        "worker": worker.log_text(),
        "import": imported.stdout + imported.stderr,
    }
    assert all(lines.values())
    assert all(logs.values())
    for secret in secrets:
        assert [name for name, each in lines.items() if secret.encode() in b"".join(each)] == []
        assert [name for name, log in logs.items() if secret in log] == []
    tables = database.execute("select table_name from information_schema.tables where table_schema = 'public'")
    stored = {
        name: str(database.execute(psql.SQL("select t::text from {} t").format(psql.Identifier(name))).fetchall())
        for (name,) in tables.fetchall()
    }
    for secret in secrets - {ha1}:
        assert [name for name, text in stored.items() if secret in text] == []
    assert {name for name, text in stored.items() if ha1 in text} == {"device", "subscriber"}


@pytest.mark.parametrize("password", ["horse@staple", "horse/sta@ple", "horse/staple", "horse%staple", "horse@sta@ple"])
def test_a_password_that_a_url_cannot_hold_is_refused_and_not_shown(password: str) -> None:
    """libpq would take its end for the host, and messages name the host."""
    url = f"postgresql://registrations_sync:{password}@127.0.0.1/kamailio"
    done = subprocess.run(
        [program("registrations-sync"), "check"],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "REGISTRATIONS_DATABASE_URL: " in done.stderr
    assert "%40" in done.stderr
    assert "staple" not in done.stderr + done.stdout
    assert done.returncode == 3
