"""Each limit that is a setting is the one that holds; the rate limit has a file of its own."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding
from tests.fixtures.server import HOST, StartServer
from tests.stand.process import wait_until

LIST = "/v2/accounts/child/registrations"
COUNT = f"{LIST}/count"
WAITING = "select count(*) from pg_stat_activity where usename = 'registrations_api' and wait_event_type = 'Lock'"
SESSIONS = "select count(*) from pg_stat_activity where usename = 'registrations_api'"


def _counted(database: psycopg.Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_the_page_size_without_a_wish_is_the_setting(
    start_api: StartApi, directory: Directory, add_binding: AddBinding
) -> None:
    """REGISTRATIONS_API_PAGE_SIZE; who names a size has that one."""
    http, headers = start_api(api_page_size=3), {"X-Auth-Token": directory.tokens["child"]}
    for number in range(5):
        add_binding(f"phone{number}", "child.test")
    page = http.get(f"{LIST}?paginate=true", headers=headers).get_json()
    assert (page["page_size"], len(page["data"])) == (3, 3)
    assert len(http.get(f"{LIST}?page_size=4", headers=headers).get_json()["data"]) == 4
    assert len(http.get(LIST, headers=headers).get_json()["data"]) == 5


def test_the_largest_page_size_is_the_setting(start_api: StartApi, directory: Directory) -> None:
    """REGISTRATIONS_API_MAX_PAGE_SIZE; a larger one is refused, and the answer says what is allowed."""
    http, headers = start_api(api_max_page_size=7), {"X-Auth-Token": directory.tokens["child"]}
    assert http.get(f"{LIST}?page_size=7", headers=headers).status_code == 200
    refused = http.get(f"{LIST}?page_size=8", headers=headers)
    assert refused.status_code == 400
    assert "7" in refused.get_json()["data"]["page_size"]["maximum"]["message"]


@pytest.mark.parametrize("most", [1024, 3000])
def test_the_largest_body_is_the_setting(start_api: StartApi, directory: Directory, most: int) -> None:
    """REGISTRATIONS_API_MAX_BODY, to the byte."""
    http, headers = start_api(api_max_body=most), {"X-Auth-Token": directory.tokens["child"]}
    body = json.dumps({"data": {}}).ljust(most)
    assert http.delete(f"{LIST}/nosuch", headers=headers, data=body).status_code == 404
    assert http.delete(f"{LIST}/nosuch", headers=headers, data=body + " ").status_code == 413


def test_a_statement_takes_no_longer_than_the_setting(
    start_api: StartApi, directory: Directory, database: psycopg.Connection, database_url: str
) -> None:
    """REGISTRATIONS_DATABASE_STATEMENT_TIMEOUT: a table that is locked is a 503, and all is well when it is free."""
    http, headers = start_api(statement_timeout=0.2), {"X-Auth-Token": directory.tokens["child"]}
    with psycopg.connect(database_url) as locking:
        locking.execute("lock table location in access exclusive mode")
        for path in (LIST, f"{LIST}?filter_username=bob", f"{LIST}?accept=csv", COUNT, "/v2/account/devices/status"):
            refused = http.get(path, headers=headers)
            assert (refused.status_code, refused.get_json()["message"]) == (503, "datastore_unreachable")
        assert _counted(database, WAITING) == 0
    assert http.get(LIST, headers=headers).status_code == 200


def test_a_token_of_api_auth_dies_after_the_setting(
    start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """REGISTRATIONS_API_TOKEN_IDLE_LIFETIME: it opens the list until it was not used for so long."""
    http = start_api(api_token_idle_lifetime=1)
    database.execute("update account set api_key_hash = %s where id = 'child'", (hashlib.sha256(b"key").digest(),))
    token = http.put("/v2/api_auth", json={"data": {"api_key": "key"}}).get_json()["auth_token"]
    headers = {"X-Auth-Token": token}
    assert http.get(COUNT, headers=headers).status_code == 200
    unused = "select count(*) from auth_token where note = 'api_auth' and last_used_at < now() - interval '1 second'"
    wait_until(lambda: _counted(database, unused) == 1, 10, "a second without use")
    assert http.get(COUNT, headers=headers).status_code == 401


def _status(port: int, token: str) -> int:
    connection = HTTPConnection(HOST, port, timeout=30)
    connection.request("GET", COUNT, headers={"X-Auth-Token": token})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_process_works_on_as_many_requests_as_the_setting_says(
    start_server: StartServer, directory: Directory, database: psycopg.Connection, database_url: str
) -> None:
    """REGISTRATIONS_API_THREADS: the others wait for their turn, and have it; PostgreSQL sees no more sessions."""
    port = start_server(api_threads="2", database_statement_timeout="60").port
    with ThreadPoolExecutor(6) as clients:
        with psycopg.connect(database_url) as locking:
            locking.execute("lock table location in access exclusive mode")
            answers = [clients.submit(_status, port, directory.tokens["child"]) for _ in range(6)]
            wait_until(lambda: _counted(database, WAITING) == 2, 20, "both threads to be at work")
        assert [answer.result() for answer in answers] == [200] * 6
    assert _counted(database, SESSIONS) <= 2


def _message(port: int, path: str, token: str) -> tuple[int, str, str | None]:
    connection = HTTPConnection(HOST, port, timeout=30)
    connection.request("GET", path, headers={"X-Auth-Token": token})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body.get("message", ""), response.getheader("Retry-After")


def test_a_request_that_waits_too_long_for_its_turn_is_a_503(
    start_server: StartServer, directory: Directory, database: psycopg.Connection, database_url: str
) -> None:
    """REGISTRATIONS_API_QUEUE_TIMEOUT: with Retry-After, and at once; /live is answered, however late."""
    server = start_server(api_threads="1", api_queue_timeout="0.2", database_statement_timeout="3")
    token = directory.tokens["child"]
    with ThreadPoolExecutor(12) as clients, psycopg.connect(database_url) as locking:
        locking.execute("lock table location in access exclusive mode")
        first = clients.submit(_message, server.port, COUNT, token)
        wait_until(lambda: _counted(database, WAITING) == 1, 20, "the only thread to be at work")
        others = [clients.submit(_message, server.port, COUNT, token) for _ in range(10)]
        live = clients.submit(_message, server.port, "/live", token)
        # All of them while the table is locked: the ten do not wait for it in turn, 3 seconds each.
        assert {answer.result()[:2] for answer in others} == {(503, "server_busy")}, "PostgreSQL is not to blame"
        assert first.result()[:2] == (503, "datastore_unreachable"), "PostgreSQL is"
        assert all(int(answer.result()[2] or 0) > 0 for answer in others)
        assert live.result()[0] == 200
    log = server.log.read_text(encoding="utf-8")
    assert log.count("s for a thread") == len(others)
    assert _message(server.port, COUNT, token)[0] == 200


def test_a_request_that_gets_no_connection_is_a_503(start_api: StartApi, directory: Directory) -> None:
    """All sessions that the process may have are in use: with Retry-After, and all is well when one is free."""
    http, headers = start_api(api_threads=1), {"X-Auth-Token": directory.tokens["child"]}
    with http.application.extensions["database"].connection():
        refused = http.get(COUNT, headers=headers)
    assert (refused.status_code, refused.get_json()["message"]) == (503, "datastore_unreachable")
    assert int(refused.headers["Retry-After"]) > 0
    assert http.get(COUNT, headers=headers).status_code == 200


def test_there_are_as_many_processes_as_the_setting_says(start_server: StartServer, directory: Directory) -> None:
    """REGISTRATIONS_API_WORKERS, below the one that watches over them."""
    server = start_server(api_workers="3")
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    wait_until(lambda: len(children.read_text(encoding="ascii").split()) == 3, 10, "three processes")
