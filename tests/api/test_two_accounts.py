"""Two accounts whose users, devices and owners have equal names: not a byte of one is in any answer to the other.

The account amark asks. Whatever is the account bmark's has that word in it, or an address that nothing else has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from kamailio.usrloc import lookup
from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.registrations.model import KEYS
from sql.settings import DatabaseSettings
from sql.worker.enrichment import enrich_pending
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import AddDevice, StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import FetchSources
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.routes import every_route

MARKERS = (b"bmark", b"203.0.113.66", b"198.51.100.66", b"192.0.2.66")
FORMATS: list[dict[str, str]] = [{}, {"Accept": "text/csv"}, {"X-Pretty-Print": "true"}, {"Accept": "text/html"}]


@pytest.fixture(params=[False, True], ids=["before the worker", "after it"])
def see(request: pytest.FixtureRequest, database: psycopg.Connection) -> Callable[[], None]:
    """Lets the worker see new rows, or not: until it does they are found by the realm."""

    def see() -> None:
        if request.param:
            assert enrich_pending(database, limit=100)

    return see


@pytest.fixture
def tokens(
    add_device: AddDevice,
    add_binding: AddBinding,
    database: psycopg.Connection,
    database_url: str,
    see: Callable[[], None],
) -> dict[str, str]:
    """Of both accounts. Each has the devices shared and other, of one owner, and a binding of each."""
    made = {}
    for account, octet in (("amark", 10), ("bmark", 66)):
        realm = f"{account}.test"
        database.execute("insert into account (id, name, realm) values (%s, 'The Same Name', %s)", (realm, realm))
        database.execute("insert into owner (id, account_id, name) values (%s, %s, 'Anna')", (f"{account}-1", realm))
        for username in ("shared", "other"):
            add_device(username, realm=realm)
            add_binding(
                username, realm,
                contact=f"sip:{username}@192.0.2.{octet}:50{octet};x={account}", callid=f"call-{account}-{username}",
                received=f"sip:198.51.100.{octet}:50{octet}", user_agent=f"Phone {account}",
                socket=f"udp:203.0.113.{octet}:5060", path=f"<sip:{account}@203.0.113.{octet};lr>",
                instance=f"<urn:{account}>",
            )  # fmt: skip
        database.execute(
            "update device set owner_id = %s, name = 'Desk', presence_id = %s where account_id = %s",
            (f"{account}-1", f"{account}-presence", realm),
        )
        with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
            made[account] = create_token(connection, realm, idle_lifetime=None)[1]
    see()
    return made


def _ask(http: FlaskClient, token: str, method: str, path: str, **headers: str) -> TestResponse:
    return http.open(path, method=method, headers={"X-Auth-Token": token, **headers})


def _assert_clean(response: TestResponse, sent: object, *, echoed: bytes = b"") -> None:
    """No marker in status, headers or body, but for what the request itself said and the answer names."""
    raw = f"{response.status}\n{response.headers}".encode() + response.data
    raw = raw.lower().replace(echoed.lower(), b"") if echoed else raw.lower()
    assert response.status_code < 500, sent
    for marker in MARKERS:
        assert marker not in raw, sent


def _registrations(http: FlaskClient, tokens: dict[str, str], account: str, query: str = "") -> list[dict[str, Any]]:
    response = _ask(http, tokens[account], "GET", f"/v2/accounts/{account}.test/registrations{query}")
    assert response.status_code == 200
    data: list[dict[str, Any]] = response.get_json()["data"]
    return data


def test_the_other_account_is_marked(start_api: StartApi, tokens: dict[str, str]) -> None:
    """Each thing of its own shows a marker in its own list, so that the tests below would find it."""
    rows = _registrations(start_api(), tokens, "bmark")
    assert [row["username"] for row in rows] == ["other", "shared"]
    marked = {key for key, value in rows[0].items() if any(mark in str(value).encode() for mark in MARKERS)}
    assert marked >= {
        "account_realm", "authorizing_id", "call_id", "contact", "contact_ip", "from_host", "network_ip",
        "original_contact", "owner_id", "presence_id", "proxy_ip", "proxy_path", "realm", "source_ip", "to_host",
        "user_agent",
    }  # fmt: skip


def test_no_read_shows_the_other_account(start_api: StartApi, tokens: dict[str, str]) -> None:
    """Each GET of the application, in each format, on the own account, the alias and the other's account."""
    http = start_api()
    for route in every_route(http.application):
        if route.method != "GET":
            continue
        for account, headers in product(("amark.test", "bmark.test"), FORMATS):
            path = route.path({"account_id": account, "username": "shared", "device_id": f"shared@{account}"})
            response = _ask(http, tokens["amark"], "GET", path, **headers)
            # The 404 of an unknown device names what was asked for.
            echoed = f"shared@{account}".encode() if response.status_code == 404 else b""
            _assert_clean(response, (path, headers), echoed=echoed)
            if account == "bmark.test" and route.names_account:
                assert response.status_code == 403, path


def test_no_parameter_shows_the_other_account(start_api: StartApi, tokens: dict[str, str]) -> None:
    """Filters by the other's values, its times and presence of keys, order and pages: the rows are those of the own."""
    http = start_api()
    others, own = (_registrations(http, tokens, account) for account in ("bmark", "amark"))
    queries = [f"filter_{key}={quote(str(value))}" for row in others for key, value in row.items()]
    queries += [f"filter_not_{key}={quote(str(own[0].get(key, '')))}" for key in KEYS]
    queries += [f"{name}={key}" for key in KEYS for name in ("has_key", "key_missing", "has_value", "missing_value")]
    queries += ["created_from=0", "modified_to=99999999999", "ascending=true", "paginate=true", "page_size=1"]
    for query, more in product(queries, ("", "&page_size=1", "&accept=csv", "&pretty_print=true&ascending=true")):
        path = f"/v2/accounts/amark.test/registrations?{query}{more}"
        _assert_clean(_ask(http, tokens["amark"], "GET", path), path)
    for key in ("realm", "authorizing_id", "call_id", "user_agent"):
        assert _registrations(http, tokens, "amark", f"?filter_{key}={quote(others[0][key])}") == []


def test_pages_never_cross_over(start_api: StartApi, tokens: dict[str, str], add_binding: AddBinding) -> None:
    """With each start key of the other's list, either way, and with positions of no list: own rows only."""
    for account in ("amark", "bmark", "amark", "bmark"):
        add_binding(f"{account}-more", f"{account}.test", contact=f"sip:{account}@192.0.2.1")
    http = start_api()
    for direction in ("", "&ascending=true"):
        start = ""
        while True:
            query = f"/registrations?page_size=1{direction}&start_key={start}"
            envelope = _ask(http, tokens["bmark"], "GET", f"/v2/accounts/bmark.test{query}").get_json()
            response = _ask(http, tokens["amark"], "GET", f"/v2/accounts/amark.test{query}")
            assert response.status_code == 200
            _assert_clean(response, query)
            start = envelope.get("next_start_key")
            if start is None:
                break
    for start in ("0", "1", "7fffffff", "fffffffffffffff"):
        _assert_clean(_ask(http, tokens["amark"], "GET", f"/v2/account/registrations?start_key={start}"), start)


def test_an_entity_tag_of_the_other_is_no_ones(start_api: StartApi, tokens: dict[str, str]) -> None:
    """Its revision in If-None-Match gives the own list, and 304 only with the own."""
    http, path = start_api(), "/v2/account/registrations"
    for headers in ({}, {"X-Pretty-Print": "true"}):
        theirs, own = (_ask(http, tokens[account], "GET", path, **headers) for account in ("bmark", "amark"))
        tags = {"If-None-Match": theirs.headers["ETag"]}
        response = _ask(http, tokens["amark"], "GET", path, **headers, **tags)
        assert (response.status_code, response.get_json()["data"]) == (200, own.get_json()["data"])
        _assert_clean(response, tags)
        tags = {"If-None-Match": own.headers["ETag"]}
        assert _ask(http, tokens["amark"], "GET", path, **headers, **tags).status_code == 304


def test_what_the_other_has_is_as_what_nobody_has(
    start_api: StartApi, tokens: dict[str, str], add_device: AddDevice
) -> None:
    """Its account, its device, its username: the answer is that to an invented one, so that nobody can probe."""
    http = start_api()
    account = "/v2/accounts/{}/registrations"
    device, username = "/v2/account/devices/{}/sync", "/v2/account/registrations/{}"
    add_device("bmark-only", realm="bmark.test")
    probes = [
        ("GET", account, "bmark.test"), ("DELETE", account, "bmark.test"), ("GET", account + "/count", "bmark.test"),
        ("POST", device, "shared@bmark.test"), ("DELETE", username, "bmark-only"),
        ("DELETE", "/v2/accounts/{}/registrations/shared", "bmark.test"),
        ("POST", "/v2/accounts/{}/devices/shared@bmark.test/sync", "bmark.test"),
    ]  # fmt: skip
    for method, path, real in probes:
        answers = []
        for name in (real, "invented"):
            response = _ask(http, tokens["amark"], method, path.format(name), **{"X-Request-ID": "req-1"})
            text = response.text.replace(name, "NAME")
            envelope = {key: value for key, value in response.get_json().items() if key != "timestamp"}
            answers.append((response.status, sorted(response.headers.keys()), text.count("NAME"), envelope["message"]))
            _assert_clean(response, path, echoed=name.encode())
        assert answers[0] == answers[1], path


def test_flushes_of_the_other_are_as_those_of_nobody(start_api: StartApi, tokens: dict[str, str]) -> None:
    """Its list is closed, and its ID, by whichever account it is asked for, is unknown."""
    http = start_api()
    path = "/v2/accounts/bmark.test/registrations"
    flushed = _ask(http, tokens["bmark"], "DELETE", f"{path}/shared", **{"X-Request-ID": "bmark-request"}).get_json()
    theirs = _ask(http, tokens["bmark"], "GET", f"{path}/flushes").get_json()["data"]
    assert [flush["request_id"] for flush in theirs] == ["bmark-request"]
    flush_id = flushed["flush_id"]
    assert theirs[0]["id"] == flush_id
    for answer in (
        _ask(http, tokens["amark"], "GET", f"{path}/flushes"),
        _ask(http, tokens["amark"], "GET", f"{path}/flushes/{flush_id}"),
    ):
        _assert_clean(answer, flush_id)
        assert (answer.status_code, flush_id in answer.text) == (403, False)
    own = _ask(http, tokens["amark"], "GET", "/v2/account/registrations/flushes")
    assert own.get_json()["data"] == []
    texts = []
    for name in (flush_id, "0" * 32):
        answer = _ask(
            http, tokens["amark"], "GET", f"/v2/account/registrations/flushes/{name}", **{"X-Request-ID": "req-1"}
        )
        _assert_clean(answer, name)
        texts.append((answer.status_code, answer.get_json()["message"], answer.text.count(name)))
    assert texts[0] == texts[1]
    assert texts[0][0] == 404


@pytest.fixture
def registrar(start_kamailio: StartKamailio, database: psycopg.Connection, postgres: Cluster) -> Proxy:
    """Their Kamailio."""
    return start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))


@pytest.fixture
def phones(
    registrar: Proxy, tokens: dict[str, str], see: Callable[[], None], fetch_sources: FetchSources
) -> Iterator[dict[str, Phone]]:
    """Of each account the real phone of its user shared."""
    with ExitStack() as running:
        started = {}
        for account in ("amark", "bmark"):
            started[account] = running.enter_context(
                Phone("shared", f"{account}.test", "secret", proxy=registrar.sip, call_id=f"real-{account}")
            )
            assert started[account].register().status == 200
        fetch_sources(registrar.rpc_url, rows=2)
        see()
        yield started


def _rows(database: psycopg.Connection, realm: str) -> list[tuple[Any, ...]]:
    return database.execute("select * from location where domain = %s order by id", (realm,)).fetchall()


@pytest.mark.parametrize("path", ["/v2/account/registrations/shared", "/v2/accounts/amark.test/registrations"])
def test_a_flush_leaves_the_others_namesake_alone(
    path: str, start_api: StartApi, registrar: Proxy, phones: dict[str, Phone], tokens: dict[str, str],
    database: psycopg.Connection,
) -> None:  # fmt: skip
    """Its rows are as they were, byte for byte, its list too; the own phone is gone from both."""
    http = start_api(registrar.rpc_url)
    before, listed = _rows(database, "bmark.test"), _registrations(http, tokens, "bmark")
    assert len(before) == 3
    response = _ask(http, tokens["amark"], "DELETE", path)
    assert (response.status_code, response.get_json()["data"]) == (200, "ok")
    _assert_clean(response, path)
    assert _rows(database, "bmark.test") == before
    assert _registrations(http, tokens, "bmark") == listed
    assert "shared" not in {row["username"] for row in _registrations(http, tokens, "amark")}
    with registrar.rpc() as rpc:
        assert {c.call_id for c in lookup(rpc, "shared@bmark.test")} >= {"real-bmark"}
        assert "real-amark" not in {c.call_id for c in lookup(rpc, "shared@amark.test")}


def test_a_sync_is_sent_to_no_phone_of_the_others(
    start_api: StartApi, registrar: Proxy, phones: dict[str, Phone], tokens: dict[str, str],
    database: psycopg.Connection,
) -> None:  # fmt: skip
    """A NOTIFY is at the own phone; the first that the namesake ever sees is the one that its own account asks for."""
    http = start_api(registrar.rpc_url)
    before = _rows(database, "bmark.test")
    for account in ("amark", "bmark"):
        assert (len(phones["amark"].received), len(phones["bmark"].received)) == (int(account == "bmark"), 0)
        path = f"/v2/accounts/{account}.test/devices/shared@{account}.test/sync"
        response = _ask(http, tokens[account], "POST", path)
        assert response.status_code == 202
        if account == "amark":
            _assert_clean(response, path)
        notify = phones[account].wait_for_request("NOTIFY")
        assert notify.headers["To"] == f"<sip:shared@{account}.test>"
    assert [len(phone.received) for phone in phones.values()] == [1, 1]
    assert _rows(database, "bmark.test") == before
