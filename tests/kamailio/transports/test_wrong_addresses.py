"""A URL of another server: whatever it answers, no binding counts as gone, and the error shows the answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from kamailio import usrloc
from kamailio.errors import KamailioError
from kamailio.removal import remove, remove_unchanged
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.fixtures.directory import Directory
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import COMMAND
from tests.kamailio.test_removal import _as_it_is
from tests.stand.kamailio import CONFIGURATION, Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster

BOB = "bob@child.test"
BODIES = {
    "JSON": ('{"error": "not found"}', "application/json"),
    "JSON-RPC": ('{"jsonrpc": "2.0", "error": {"code": 404, "message": "Not Found"}, "id": null}', "application/json"),
    "our own words": (
        '{"jsonrpc": "2.0", "error": {"code": 404, "message": "Not There"}, "id": null}',
        "application/json",
    ),
    "usrloc's words": (
        '{"jsonrpc": "2.0", "error": {"code": 500, "message": "AOR not found in location table"}, "id": null}',
        "application/json",
    ),
    "another id": ('{"jsonrpc": "2.0", "error": {"code": 404, "message": "Not There"}, "id": 7}', "application/json"),
    "a page": ("<html><body>404 Not Found</body></html>", "text/html"),
    "nothing": ("", "text/plain"),
}


class _Other(ThreadingHTTPServer):
    """A web server that is not Kamailio."""

    daemon_threads = True

    def __init__(self, status: int, body: str, kind: str, *, chunked: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status, self.body, self.kind, self.chunked = status, body.encode(), kind, chunked


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Other

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.send_header("Content-Type", self.server.kind)
        if self.server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(self.server.body), self.server.body))
            return
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        """Log nothing."""


StartOther = Callable[..., str]


@pytest.fixture
def start_other() -> Iterator[StartOther]:
    """Start the other web server, and return its URL."""
    running: list[_Other] = []

    def start(status: int, body: str, kind: str, *, chunked: bool = False) -> str:
        server = _Other(status, body, kind, chunked=chunked)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/RPC"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> Iterator[Proxy]:
    """A proxy where bob is registered."""
    proxy = start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))
    with Phone("bob", "child.test", "secret", proxy=proxy.sip) as phone:
        assert phone.register().ok
        yield proxy


def _outcomes(url: str, registrar: Proxy) -> list[object]:
    """Return the outcomes of both kinds of removal of bob's binding, which must still be there."""
    with registrar.rpc() as true, JsonRpcClient(transport_for(url), timeout=2) as client:
        doomed = _as_it_is(true, BOB)
        outcomes: list[object] = []
        outcomes += remove_unchanged(client, [doomed], budget=2)
        outcomes += remove(client, [doomed], budget=2)
        assert len(usrloc.lookup(true, BOB)) == 1
    return outcomes


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("status", [200, 404, 405, 502])
@pytest.mark.parametrize(("body", "kind"), BODIES.values(), ids=BODIES)
def test_another_server_confirms_nothing(
    start_other: StartOther, registrar: Proxy, body: str, kind: str, status: int, *, chunked: bool
) -> None:
    """Whatever it answers: only our random id shows that a request was read."""
    for outcome in _outcomes(start_other(status, body, kind, chunked=chunked), registrar):
        assert isinstance(outcome, KamailioError)
        if kind != "application/json":
            assert f"(HTTP {status} " in str(outcome)


@pytest.mark.parametrize("path", ["/", "/rpc", "/RPC/", "/x"])
def test_another_path_confirms_nothing(registrar: Proxy, path: str) -> None:
    """A wrong path at the right node. The error tells where to POST to."""
    for outcome in _outcomes(registrar.rpc_url.replace("/RPC", path), registrar):
        assert isinstance(outcome, KamailioError)
        assert "POST to /RPC" in str(outcome)


@pytest.mark.parametrize(
    "answer",
    [
        'xhttp_reply("404", "Not Found", "application/json", \'{"code": 404}\')',
        'xhttp_reply("404", "No", "text/html", "")',
    ],
    ids=["JSON", "page"],
)
def test_an_operators_own_route_confirms_nothing(
    start_kamailio: StartKamailio, registrar: Proxy, tmp_path: Path, answer: str
) -> None:
    """On a node's SIP port, where the operator's own event_route[xhttp:request] answers."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    for name, content in (
        ("kamailio.cfg", text.replace('xhttp_reply("404", "Not Found", "text/plain", "")', answer)),
        ("registrations.cfg", CONFIGURATION.with_name("registrations.cfg").read_text(encoding="utf-8")),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
    other = start_kamailio(server_id=2, configuration=tmp_path / "kamailio.cfg")
    for outcome in _outcomes(f"http://127.0.0.1:{other.sip_port}/RPC", registrar):
        assert isinstance(outcome, KamailioError)
        assert "no JSON" in str(outcome)


def test_a_port_that_closes_confirms_nothing(registrar: Proxy) -> None:
    """A server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for outcome in _outcomes(f"http://127.0.0.1:{silent.getsockname()[1]}/RPC", registrar):
            assert isinstance(outcome, KamailioError)


def test_the_flush_stays_pending_and_check_says_why(
    registrar: Proxy, start_other: StartOther, database: psycopg.Connection, postgres: Cluster
) -> None:
    """On the command line and in `check`. With the right URL the flush completes."""
    url = postgres.url(database.info.dbname, user="registrations_sync")

    def run(rpc: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": rpc}
        return subprocess.run(
            [*COMMAND, *arguments], env=variables, capture_output=True, text=True, check=False, timeout=60
        )

    for rpc, said in (
        (registrar.rpc_url.replace("/RPC", "/rpc"), "POST to /RPC"),
        (start_other(404, *BODIES["a page"]), "HTTP 404 Not Found"),
    ):
        flushed = run(rpc, "flush", "child")
        assert flushed.returncode == 1
        assert flushed.stdout.endswith("1 pending\n")
        database.execute("update flush set requested_at = requested_at - interval '10 minutes'")
        found = {each["id"]: each for each in json.loads(run(rpc, "check", "--json").stdout)["findings"]}
        assert said in found["flushes_late"]["what"]
        about = found["node_unreachable"] if "HTTP" in said else found["node_commands"]
        assert said in about["what"]
        assert "REGISTRATIONS_KAMAILIO_RPC" in about["remedy"] or "at the path /RPC" in about["remedy"]
    assert run(registrar.rpc_url, "flush", "child").returncode == 0
    with registrar.rpc() as client:
        assert usrloc.lookup(client, BOB) == ()
