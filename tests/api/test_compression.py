"""Answers are gzip for clients that accept it, are the same data, and never tell the token by their length."""

from __future__ import annotations

import gzip
import json
import random
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

import psycopg
import pytest
from flask.testing import FlaskClient

from api.compression import gzipped
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.server import HOST, Started, StartServer

LIST = "/v2/accounts/child/registrations"
GZIP = {"Accept-Encoding": "gzip, deflate, br"}
LONG = 12_000


@pytest.fixture
def phones(add_binding: AddBinding) -> None:
    """Enough for a body that is worth it."""
    for number in range(5):
        add_binding(f"phone{number}", "child.test")


@pytest.mark.parametrize("query", ["", "?accept=csv", "?pretty_print=true"])
def test_a_list_is_compressed_for_who_accepts_it(
    http: FlaskClient, directory: Directory, phones: None, query: str
) -> None:
    """JSON and CSV, the same bytes as without; caches are told what the answer depends on."""
    headers = {"X-Auth-Token": directory.tokens["child"], "X-Request-ID": "same"}
    plain = http.get(LIST + query, headers=headers)
    packed = http.get(LIST + query, headers={**headers, **GZIP})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content_length == len(packed.data) < len(plain.data) / 2
    unpacked = gzip.decompress(packed.data)
    if "csv" in query:
        assert unpacked == plain.data
    else:
        assert json.loads(unpacked)["data"] == plain.get_json()["data"]
    for response in (plain, packed):
        assert "accept-encoding" in {each.lower() for each in response.vary}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("br", None),
        ("", None),
    ],
)
def test_the_client_chooses_the_coding(
    http: FlaskClient, directory: Directory, phones: None, accepted: str, coding: str | None
) -> None:
    """RFC 9110, 12.5.3."""
    headers = {"X-Auth-Token": directory.tokens["child"], "Accept-Encoding": accepted}
    assert http.get(LIST, headers=headers).headers.get("Content-Encoding") == coding


def test_a_small_answer_is_sent_as_it_is(http: FlaskClient, directory: Directory) -> None:
    """It would not become shorter by a packet; its tag is strong."""
    headers = {"X-Auth-Token": directory.tokens["child"], **GZIP}
    response = http.get(f"{LIST}/count", headers=headers)
    assert response.get_json()["data"] == {"count": 0}
    assert response.headers["ETag"].startswith('"')


def test_the_entity_tag_goes_with_both_codings(http: FlaskClient, directory: Directory, phones: None) -> None:
    """Weak, since the bytes differ, and the revision as ever; either tag is answered 304, with that of the answer."""
    headers = {"X-Auth-Token": directory.tokens["child"]}
    plain, packed = http.get(LIST, headers=headers), http.get(LIST, headers={**headers, **GZIP})
    revision = json.loads(gzip.decompress(packed.data))["revision"]
    assert plain.headers["ETag"] == f'"{revision}"'
    assert packed.headers["ETag"] == f'W/"{revision}"'
    for tag in (plain.headers["ETag"], packed.headers["ETag"]):
        for wish in ({}, GZIP):
            again = http.get(LIST, headers={**headers, **wish, "If-None-Match": tag})
            assert (again.status_code, again.data) == (304, b"")
            assert again.headers["ETag"] == (packed if wish else plain).headers["ETag"]
            assert "Content-Encoding" not in again.headers


def test_head_says_what_get_would(http: FlaskClient, directory: Directory, phones: None) -> None:
    """RFC 9110, 9.3.2."""
    headers = {"X-Auth-Token": directory.tokens["child"], "X-Request-ID": "same", **GZIP}
    got, head = http.get(LIST, headers=headers), http.head(LIST, headers=headers)
    assert head.data == b""
    for name in ("Content-Encoding", "ETag", "Content-Type", "Vary"):
        assert head.headers[name] == got.headers[name]


def test_the_document_and_its_page_are_compressed(http: FlaskClient) -> None:
    """The script of the page is larger than most lists. A part of a file is sent as it is."""
    plain = http.get("/v2/openapi.json")
    assert gzip.decompress(http.get("/v2/openapi.json", headers=GZIP).data) == plain.data
    script = "/v2/docs/swagger-ui-bundle.js"
    with http.get(script, headers=GZIP) as packed, http.get(script) as whole:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == whole.data
        tag = packed.headers["ETag"]
    with http.get(script, headers={**GZIP, "If-None-Match": tag}) as unchanged:
        assert unchanged.status_code == 304
    with http.get(script, headers={**GZIP, "Range": "bytes=0-9"}) as part:
        assert (part.status_code, part.data, part.headers.get("Content-Encoding")) == (206, whole.data[:10], None)
    with http.get("/v2/docs/favicon-32x32.png", headers=GZIP) as icon:
        assert "Content-Encoding" not in icon.headers


TOKEN, OTHER = (f"{random.Random(seed).getrandbits(256):064x}".encode() for seed in (1, 2))


@pytest.mark.parametrize("size", [1, 7, 64, 65, 1000, 1 << 20])
def test_what_comes_in_chunks_of_any_size_is_one_body(size: int) -> None:
    """Also where a chunk ends in the midst of the secret, and where there is none."""
    body = b"phone " * 3000 + TOKEN + b"x" * 200 + TOKEN + TOKEN + b" phone" * 3000 + TOKEN[:-1]
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    for secret in (TOKEN, None):
        packed = list(gzipped(chunks, secret=secret))
        assert gzip.decompress(b"".join(packed)) == body
        assert all(packed)  # an empty chunk would end the answer
    assert gzip.decompress(b"".join(gzipped([], secret=TOKEN))) == b""


def test_the_length_says_nothing_of_the_token() -> None:
    """A phone's User-Agent that is nearly all of the token makes the answer no shorter. Plain gzip fails this."""

    def body(token: bytes) -> bytes:
        return b'{"data":[{"user_agent":"%s"}],"auth_token":"%s"}' % (TOKEN[:60], token)

    near, far = (b"".join(gzipped([body(token)], secret=token)) for token in (TOKEN, OTHER))
    assert len(near) == len(far)
    assert TOKEN in near
    assert len(gzip.compress(body(TOKEN))) < len(gzip.compress(body(OTHER))) - 20


@pytest.fixture
def server(start_server: StartServer) -> Started:
    return start_server(api_rate_burst="0", database_statement_timeout="60")


@pytest.fixture
def long_list(directory: Directory, database: psycopg.Connection) -> str:
    """Token of an account whose list is sent while it is read."""
    database.execute(
        "insert into location (ruid, username, domain, contact, received, socket, expires, user_agent, enriched_at, "
        "account_id) select 'r' || n, 'phone' || n, 'child.test', 'sip:phone' || n || '@192.0.2.1:5060', "
        "'sip:198.51.100.7:33333', 'udp:203.0.113.1:5060', 0, 'Phone/1', now(), 'child' from generate_series(1, %s) n",
        (LONG,),
    )
    database.execute("analyze location")
    return directory.tokens["child"]


def _ask(server: Started, token: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection(HOST, server.port, timeout=60)) as connection:
        connection.request("GET", LIST, headers={"X-Auth-Token": token, **headers})
        with connection.getresponse() as response:
            return response, response.read()


def test_a_long_list_is_compressed_while_it_is_read(server: Started, long_list: str) -> None:
    """In chunks, whole, with its token uncompressed; and whole as well where it is written before it is sent."""
    response, packed = _ask(server, long_list, **GZIP)
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.headers["Content-Encoding"] == "gzip"
    envelope = json.loads(gzip.decompress(packed))
    assert [each["username"] for each in envelope["data"]] == [f"phone{n}" for n in range(LONG, 0, -1)]
    assert long_list.encode() in packed
    response, packed = _ask(server, long_list, **GZIP, **{"If-None-Match": '"another"'})
    assert response.headers["ETag"] == f'W/"{envelope["revision"]}"'
    assert len(json.loads(gzip.decompress(packed))["data"]) == LONG
