"""/ready, which anybody may ask without a limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psycopg
import pytest

from tests.fixtures.http import StartApi
from tests.stand.process import wait_until

ASKED_AT_ONCE = 6


class StandInKamailio(ThreadingHTTPServer):
    """Answers `core.uptime` and counts how often it is asked."""

    asked = 0


class _Rpc(BaseHTTPRequestHandler):
    server: StandInKamailio

    def do_POST(self) -> None:  # the library's name
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"uptime": 7}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Nothing."""


@pytest.fixture
def kamailio() -> Iterator[StandInKamailio]:
    with StandInKamailio(("127.0.0.1", 0), _Rpc) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_many_who_ask_at_once_cost_one_look(start_api: StartApi, kamailio: StandInKamailio) -> None:
    """One of them asks PostgreSQL and the nodes, and the others have its answer; later ones have a new one."""
    http = start_api(f"http://127.0.0.1:{kamailio.server_port}/RPC")
    with ThreadPoolExecutor(ASKED_AT_ONCE) as clients:
        answers = [clients.submit(http.application.test_client().get, "/ready") for _ in range(ASKED_AT_ONCE)]
        found = [answer.result() for answer in answers]
    assert [(answer.status_code, answer.get_json()["kamailio"]) for answer in found] == [(200, "ok")] * ASKED_AT_ONCE
    assert kamailio.asked < ASKED_AT_ONCE
    asked = kamailio.asked
    wait_until(lambda: http.get("/ready").status_code == 200 and kamailio.asked > asked, 20, "another look")


def test_nobody_waits_for_a_look_that_hangs(
    start_api: StartApi, kamailio: StandInKamailio, database: psycopg.Connection, database_url: str
) -> None:
    """While one request waits for PostgreSQL, others are told that it is not ready."""
    http = start_api(f"http://127.0.0.1:{kamailio.server_port}/RPC")
    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(1) as client:
        holder.execute("lock table registrations_migration in access exclusive mode")
        first = client.submit(http.application.test_client().get, "/ready")
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        wait_until(lambda: database.execute(waiting.encode()).fetchone() is not None, 20, "the first request to wait")
        answer = http.get("/ready")
        assert not first.done()
        assert (answer.status_code, answer.get_json()) == (
            503,
            {"status": "not ready", "database": "DatabaseUnreachable"},
        )
        holder.rollback()
    assert first.result().status_code == 200
