"""A temporary directory that takes nothing: a long list is 503 in the envelope, and 200 once there is room again.

A full file system needs a mount namespace, so its test is left out where the kernel gives none. A limit on the size of
files and a directory that is gone can be had everywhere.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import psycopg
import pytest

from tests.demo.content import program
from tests.fixtures.directory import Directory
from tests.fixtures.server import HOST, Started, StartServer
from tests.stand.process import wait_until
from tests.stand.raw_http import exchange

LIST = "/v2/accounts/child/registrations"
# More than what is kept in memory; the second also more than what is written before it is sent.
WHOLE, LONG = 2_000, 12_000
IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
LIMIT = 1 << 20
Sabotage = Callable[[Started], Callable[[], object]]


def _worker(server: Started) -> int:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text(encoding="ascii")
    return int(children.split()[0])


def _limit(server: Started) -> Callable[[], object]:
    """Let no file of the server be larger than what a list has in memory (EFBIG)."""
    before = resource.prlimit(_worker(server), resource.RLIMIT_FSIZE)
    resource.prlimit(_worker(server), resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    return lambda: resource.prlimit(_worker(server), resource.RLIMIT_FSIZE, before)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's temporary directory."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.fixture(params=["limit", "gone"])
def sabotage(request: pytest.FixtureRequest, temporary: Path) -> Sabotage:
    """Let the temporary directory take nothing; what it returns ends that."""

    def gone(_server: Started) -> Callable[[], object]:
        shutil.rmtree(temporary)
        return temporary.mkdir

    return gone if request.param == "gone" else _limit


@pytest.fixture
def register(database: psycopg.Connection, directory: Directory) -> Callable[[int], str]:
    """Register so many phones in the account child; returns its token."""

    def registered(count: int) -> str:
        database.execute(
            "insert into location (ruid, username, domain, contact, received, socket, expires, user_agent, "
            "enriched_at, account_id) select 'r' || n, 'phone' || n, 'child.test', "
            "'sip:phone' || n || '@192.0.2.1:5060', 'sip:198.51.100.7:33333', 'udp:203.0.113.1:5060', 0, 'Phone/1', "
            "now(), 'child' from generate_series(1, %s) n",
            (count,),
        )
        return directory.tokens["child"]

    return registered


def _request(token: str, path: str = LIST, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nX-Auth-Token: {token}\r\n{more}\r\n".encode()


@pytest.mark.parametrize(
    ("count", "path", "more"),
    [(WHOLE, LIST, ""), (LONG, LIST, ""), (LONG, f"{LIST}?accept=csv", ""), (LONG, LIST, 'If-None-Match: "x"\r\n')],
    ids=["whole", "long", "csv", "conditional"],
)
def test_a_list_that_finds_no_place_is_a_503(
    start_server: StartServer, register: Callable[[int], str], sabotage: Sabotage, count: int, path: str, more: str
) -> None:
    """Before its first byte; short answers are as ever, the log says what the system said, and nothing is left over."""
    token = register(count)
    server = start_server()
    end = sabotage(server)
    reply = exchange(server.port, _request(token, path, more))
    envelope = reply.json()
    assert (reply.status, envelope["error"], envelope["message"]) == (503, "503", "storage_exhausted")
    assert envelope["data"] == {"message": "storage exhausted"}
    assert int(reply.headers["Retry-After"]) > 0
    assert exchange(server.port, _request(token, f"{LIST}/count")).status == 200
    assert exchange(server.port, _request(token, f"{LIST}?page_size=10")).status == 200
    assert "temporary file: " in server.process.log_text()
    assert "Traceback" not in server.process.log_text()
    end()
    assert exchange(server.port, _request(token, path, more)).status == 200


def test_a_long_list_that_finds_no_place_later_breaks(
    start_server: StartServer, register: Callable[[int], str], temporary: Path, database: psycopg.Connection
) -> None:
    """A slow client has had the beginning when the rest is to be kept for it: it sees that the answer broke."""
    token = register(LONG)
    database.execute("update location set user_agent = repeat('x', 255), callid = repeat('y', 255)")
    server = start_server(database_statement_timeout="60")
    with closing(HTTPConnection(HOST, server.port, timeout=60)) as connection:
        connection.request("GET", LIST, headers={"X-Auth-Token": token})
        response = connection.getresponse()
        shutil.rmtree(temporary)

        def is_broken_off() -> bool:
            assert response.read(1 << 14)
            return "answer broken off" in server.process.log_text()

        wait_until(is_broken_off, 60, "the rest to find no place")
        with pytest.raises(IncompleteRead):
            response.read()


def _can_mount() -> bool:
    return subprocess.run([*IN_A_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="the kernel gives this user no mount namespace")
def test_a_full_file_system_is_a_503(
    start_server: StartServer, register: Callable[[int], str], temporary: Path
) -> None:
    """ENOSPC itself: a tmpfs of less than a list, which only the server sees."""
    token = register(WHOLE)
    mount = f'mount -t tmpfs -o size=1m none {temporary} && exec "$0" serve'
    server = start_server(command=[*IN_A_NAMESPACE, "sh", "-c", mount, program("registrations-api")])
    reply = exchange(server.port, _request(token))
    assert (reply.status, reply.json()["message"]) == (503, "storage_exhausted")
    assert "No space left on device" in server.process.log_text()


def test_no_temporary_directory_at_all_is_an_operators_mistake() -> None:
    """Where no file can have a byte no directory will do: one line, before anything else is tried."""
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$0" serve', program("registrations-api")],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: TMPDIR: No usable temporary directory found")
    assert len(ended.stderr.splitlines()) == 1
