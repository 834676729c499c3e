"""A list may be of any size: the server's memory does not grow with it."""

from __future__ import annotations

import re
import zlib
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.server import HOST, Started, StartServer

LIST = "/v2/accounts/child/registrations"
# Few are more than what a list reads at a time and keeps in memory before it goes to a file.
FEW, MANY = 5_000, 45_000
# Less than a fifth of the large list in its shortest form, CSV.
GROWTH_BYTES = 3 << 19


def _worker(server: Started) -> int:
    (pid,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text(encoding="ascii").split()
    return int(pid)


def _peak_bytes(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _download(server: Started, token: str, path: str, coding: str) -> int:
    """How many bytes the answer has, before it is compressed."""
    connection = HTTPConnection(HOST, server.port, timeout=60)
    connection.request("GET", path, headers={"X-Auth-Token": token, "Accept-Encoding": coding})
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers.get("Content-Encoding", "identity") == coding
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress if coding == "gzip" else bytes
    size = 0
    while piece := response.read(1 << 16):
        size += len(unpack(piece))
    connection.close()
    return size


def _register(database: psycopg.Connection, numbers: range) -> None:
    database.execute(
        "insert into location (ruid, username, domain, contact, received, socket, expires, user_agent, enriched_at, "
        "account_id) select 'r' || n, 'user' || n, 'child.test', 'sip:user' || n || '@192.0.2.1:5060', "
        "'sip:198.51.100.7:33333', 'udp:203.0.113.1:5060', 0, 'Phone/1', now(), 'child' "
        "from generate_series(%s::int, %s::int) n",
        (numbers.start, numbers.stop - 1),
    )


@pytest.mark.parametrize(
    ("query", "coding"),
    [
        ("", "identity"),
        ("?filter_not_username=nobody", "identity"),
        ("?accept=csv", "identity"),
        ("?pretty_print=true", "identity"),
        ("", "gzip"),
        ("?accept=csv", "gzip"),
    ],
)
def test_a_list_of_any_size_takes_the_same_memory(
    start_server: StartServer, directory: Directory, database: psycopg.Connection, query: str, coding: str
) -> None:
    """The peak of the process grows by a fraction of the list at the most: with filters, as CSV, compressed."""
    server = start_server(api_threads="1", database_statement_timeout="60")
    token = directory.tokens["child"]
    _register(database, range(FEW))
    for _ in range(2):  # what libraries keep for good is there then
        _download(server, token, LIST + query, coding)
    before = _peak_bytes(_worker(server))
    _register(database, range(FEW, MANY))
    database.execute("analyze location")
    sent = _download(server, token, LIST + query, coding)
    assert sent > 5 * GROWTH_BYTES
    assert _peak_bytes(_worker(server)) - before < GROWTH_BYTES
