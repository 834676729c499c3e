"""Logs of the real programs: one event a line, with the request's ID in every part, and never a secret."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.demo.content import program
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.server import Started, StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

pytestmark = pytest.mark.long

DEBUG = {"REGISTRATIONS_LOG_FORMAT": "json", "REGISTRATIONS_LOG_LEVEL": "debug"}


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _ask(
    port: int, method: str, path: str, headers: dict[str, str] | None = None, body: object = None
) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else {}
    finally:
        connection.close()


@pytest.fixture
def registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> Proxy:
    """A proxy on the test's directory."""
    assert directory.tokens
    return start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))


def test_a_requests_id_is_in_every_line_about_it(
    registrar: Proxy, start_server: StartServer, start_worker: StartWorker, directory: Directory
) -> None:
    """From the client's header to the flush record, the calls to Kamailio, and the worker that continues the flush."""
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as bob:
        assert bob.register().status == 200
    # Two nodes, so that each call has its own thread. The API can reach neither.
    api = start_server(f"1={NOWHERE},2={NOWHERE}", log_format="json", log_level="debug")
    headers = {"X-Auth-Token": directory.tokens["child"], "X-Request-ID": "trace-17"}
    status, answer = _ask(api.port, "DELETE", "/v2/accounts/child/registrations/bob", headers)
    assert (status, answer["pending"]) == (200, 1)
    # The event about the end of the request may be logged after its answer.
    wait_until(lambda: "request answered" in api.process.log_text(), 5, "the request to be logged")
    of_request = [event for event in _events(api.process.log_text()) if event.get("request_id") == "trace-17"]
    messages = {event["message"] for event in of_request}
    assert messages >= {"flush promised", "call ended", "flush left to the worker", "request answered"}
    assert {event["flush_id"] for event in of_request if "flush_id" in event} == {answer["flush_id"]}
    calls = [event for event in of_request if event["message"] == "call ended"]
    assert all(isinstance(event["rpc_id"], int) for event in calls)
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=f"1={registrar.rpc_url}", **DEBUG)
    wait_until(lambda: "flush progress" in worker.log_text(), 40, "the worker to continue the flush")
    (goes_on,) = [event for event in _events(worker.log_text()) if event["message"] == "flush progress"]
    expected = {"request_id": "trace-17", "flush_id": answer["flush_id"], "server_id": 1, "flushed": 1, "superseded": 0}
    assert {name: goes_on[name] for name in expected} == expected


def test_json_is_one_object_a_line(
    registrar: Proxy, start_server: StartServer, start_worker: StartWorker, directory: Directory, postgres: Cluster
) -> None:
    """This includes tracebacks, gunicorn's own lines and outages. Each has time, level and message."""
    api = start_server(registrar.rpc_url, log_format="JSON")
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url, REGISTRATIONS_LOG_FORMAT="json")
    assert (
        _ask(api.port, "GET", "/v2/accounts/child/registrations", {"X-Auth-Token": directory.tokens["child"]})[0] == 200
    )
    postgres.stop()
    try:
        assert _ask(api.port, "GET", "/v2/accounts/child/registrations", {"X-Auth-Token": "x"})[0] == 503
        wait_until(lambda: "database unreachable" in worker.log_text(), 20, "the worker to notice")
    finally:
        postgres.start()
    api.process.stop()
    worker.stop()
    for log in (api.process.log_text(), worker.log_text()):
        events = _events(log)
        assert all({"timestamp", "level", "logger", "message"} <= set(event) for event in events)
    loggers = {event["logger"] for event in _events(api.process.log_text())}
    assert {"gunicorn.error", "api.envelope", "api.errors"} <= loggers


def test_logfmt_stays_the_default(start_server: StartServer, directory: Directory) -> None:
    """Each event is one readable line, and debug events are left out."""
    api = start_server()
    lines = api.process.log_text().splitlines()
    assert any('msg="request answered"' in line for line in lines)
    assert not any("call ended" in line for line in lines)


class Secrets:
    """All secrets, and all outputs to search for them."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.texts: dict[str, str] = {}

    def word(self, text: str) -> str:
        """Record a secret and return it."""
        self.words.add(text)
        return text

    def leaks(self) -> list[tuple[str, str]]:
        """Return each secret that was found, with its place."""
        return [(word, name) for word in self.words for name, text in self.texts.items() if word in text]


def _run(secrets: Secrets, *arguments: str | Path, url: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": NOWHERE, **DEBUG}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=60)
    said = done.stderr + ("" if "token" in arguments else done.stdout)  # `token create` must show the token
    secrets.texts[f"{' '.join(map(str, arguments))} ({len(secrets.texts)})"] = said
    return done


def _use_the_api(secrets: Secrets, api: Started, directory: Directory, key: str) -> None:
    """Send tokens, keys and passwords, valid and invalid, in every way that a client can."""
    right, wrong = secrets.word(directory.tokens["reseller"]), secrets.word("wr0ng-t0ken-0123456789abcdef")
    path = "/v2/accounts/reseller/registrations"
    for token, status in ((right, 200), (wrong, 401)):
        assert _ask(api.port, "GET", path, {"X-Auth-Token": token})[0] == status
        assert _ask(api.port, "GET", f"{path}?auth_token={token}")[0] == status
        assert _ask(api.port, "GET", path, {"Authorization": f"Bearer {token}"})[0] == status
        assert _ask(api.port, "POST", path, body={"auth_token": token, "verb": "DELETE"})[0] == status
        assert _ask(api.port, "GET", f"/v2/nowhere?auth_token={token}")[0] == 404
        assert _ask(api.port, "GET", f"{path}?auth_token={token}&{'x' * 9000}")[0] == 414
        assert _ask(api.port, "GET", f"{path}?auth_token={token}&created_from=x")[0] == (400 if status == 200 else 401)
    assert _ask(api.port, "PUT", "/v2/api_auth", body={"data": {"api_key": key}})[0] == 201
    bad_key = secrets.word("wr0ng-key-fedcba9876543210")
    assert _ask(api.port, "PUT", "/v2/api_auth", body={"data": {"api_key": bad_key}})[0] == 401
    unread = secrets.word("half-a-token-5555")
    connection = HTTPConnection("127.0.0.1", api.port, timeout=10)
    connection.putrequest("GET", f"{path}?auth_token={unread}", skip_host=True)
    connection.putheader("X-Auth-Token", unread)
    connection.putheader("Content-Length", "many")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_no_secret_is_ever_logged(
    registrar: Proxy,
    start_server: StartServer,
    start_worker: StartWorker,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    tmp_path: Path,
) -> None:
    """No valid or invalid token, API key, password or ha1 is logged at debug level, in success and in failure."""
    secrets = Secrets()
    key = secrets.word("reseller-key-abc-123")
    database.execute(
        "update account set api_key_hash = %s where id = 'reseller'", (hashlib.sha256(key.encode()).digest(),)
    )
    secrets.words.update(row[0] for row in database.execute("select ha1 from device").fetchall())
    password = secrets.word("pa55w0rd-of-the-database")
    name = database.info.dbname
    url = postgres.url(name).replace("@", f":{password}@")
    as_role = {
        user: postgres.url(name, user=user).replace("@", f":{password}@")
        for user in ("registrations_api", "registrations_sync")
    }
    # The worker follows changed passwords, and the API meets an outage.
    worker = start_worker(
        REGISTRATIONS_KAMAILIO_RPC=f"1={registrar.rpc_url}",
        REGISTRATIONS_DATABASE_URL=as_role["registrations_sync"],
        **DEBUG,
    )
    api = start_server(
        f"1={registrar.rpc_url}",
        database_url=as_role["registrations_api"],
        log_format="json",
        log_level="debug",
        api_rate_burst="0",
    )
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as bob:
        assert bob.register().status == 200
    _use_the_api(secrets, api, directory, key)
    _import_devices(secrets, url, tmp_path)
    wait_until(lambda: "flush progress" in worker.log_text() or "flushes_asked" in worker.log_text(), 20, "a flush")
    made = _run(secrets, program("registrations-db"), "token", "create", "child", url=url)
    secrets.word(made.stdout.strip())
    for broken in (
        f"postgresql://postgres:{password}@127.0.0.1:1/{name}",
        f"postgresql://postgres:{password}@127.0.0.1:port/{name}",
        f"postgresql://postgres:{password}%zz@127.0.0.1/{name}",
        f"postgresql://postgres:{password}@[::1]x/{name}",
        f"host=127.0.0.1 password=my {password}",
        f"host={postgres.host} port={postgres.port} user=nosuch password={password} dbname={name}",
    ):
        for command in (("registrations-db", "check"), ("registrations-sync", "check"), ("registrations-sync", "once")):
            assert _run(secrets, program(command[0]), *command[1:], url=broken).returncode != 0
        if "127.0.0.1:" not in broken:  # for a database that is away it would wait
            assert _run(secrets, program("registrations-api"), "serve", url=broken).returncode != 0
    postgres.stop()
    try:
        assert _ask(api.port, "GET", "/ready")[0] == 503
        wait_until(lambda: "database unreachable" in worker.log_text(), 20, "the worker to notice")
    finally:
        postgres.start()
    api.process.stop()
    worker.stop()
    secrets.texts |= {"api": api.process.log_text(), "worker": worker.log_text(), "kamailio": registrar.log}
    assert secrets.leaks() == []
    # Make sure that the search works: the log of each program was read.
    assert "call ended" in secrets.texts["api"]
    assert "call ended" in secrets.texts["worker"]
    assert len(secrets.words) > 10


def _import_devices(secrets: Secrets, url: str, directory: Path) -> None:
    ha1, spoilt = secrets.word("0123456789abcdef0123456789abcdef"), secrets.word("0123456789abcdef-is-no-ha1")
    password = secrets.word("pass-of-a-phone-77")
    device: dict[str, Any] = {"id": "device-bob", "account_id": "child", "sip_username": "bob"}
    files = {
        "ha1": ({**device, "ha1": ha1}, True),
        "password": ({**device, "password": password}, True),
        "spoilt": ({**device, "ha1": spoilt}, False),
        "both": ({**device, "ha1": ha1, "password": password}, False),
        "number": ({**device, "password": [password]}, False),
        "nobody": ({**device, "account_id": "nowhere", "password": password}, False),
    }
    for name, (row, fine) in files.items():
        path = directory / f"{name}.json"
        path.write_text(json.dumps({"devices": [row]}), encoding="utf-8")
        done = _run(secrets, program("registrations-db"), "import", path, url=url)
        assert (done.returncode == 0) == fine, (name, done.stderr)
    broken = directory / "broken.json"
    broken.write_text('{"devices": [{"id": "x", "password": "' + password, encoding="utf-8")
    assert _run(secrets, program("registrations-db"), "import", broken, url=url).returncode != 0
    table = directory / "devices.csv"
    table.write_text(f"id,account_id,sip_username,ha1\ndevice-bob,child,bob,{spoilt}\n", encoding="utf-8")
    assert _run(secrets, program("registrations-db"), "import", table, url=url).returncode != 0
