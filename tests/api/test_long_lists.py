"""A list that is too long to be written before it is sent: whole or visibly broken, never half of one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.fixtures.server import HOST, Started, StartServer
from tests.stand.process import wait_until

LIST = "/v2/accounts/child/registrations"
LONG = 12_000


@pytest.fixture
def server(start_server: StartServer) -> Started:
    return start_server(api_rate_burst="0", api_request_timeout="3", database_statement_timeout="60")


@pytest.fixture
def token(directory: Directory, database: psycopg.Connection) -> str:
    """Of an account with a long list. phone1 came first, so it is the last one."""
    database.execute(
        "insert into location (ruid, username, domain, contact, received, socket, expires, user_agent, enriched_at, "
        "account_id) select 'r' || n, 'phone' || n, 'child.test', 'sip:phone' || n || '@192.0.2.1:5060', "
        "'sip:198.51.100.7:33333', 'udp:203.0.113.1:5060', 0, 'Phone/1', now(), 'child' from generate_series(1, %s) n",
        (LONG,),
    )
    database.execute("analyze location")
    return directory.tokens["child"]


@contextmanager
def _ask(server: Started, token: str, path: str = LIST, **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection(HOST, server.port, timeout=60)) as connection:
        connection.request("GET", path, headers={"X-Auth-Token": token, **headers})
        with connection.getresponse() as response:
            yield response


def test_a_long_list_is_whole_and_has_its_revision_at_its_end(server: Started, token: str) -> None:
    """No ETag stands in the header; the revision is one all the same, and equal data gives an equal one."""
    with _ask(server, token) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["ETag"] is None
        envelope = json.load(response)
    assert [each["username"] for each in envelope["data"]] == [f"phone{n}" for n in range(LONG, 0, -1)]
    assert (envelope["status"], envelope["page_size"]) == ("success", LONG)
    with _ask(server, token) as again:
        assert json.load(again)["revision"] == envelope["revision"]
    with _ask(server, token, **{"If-None-Match": f'"{envelope["revision"]}"'}) as unchanged:
        assert unchanged.status == 304


def test_a_long_list_that_changed_is_sent_whole_to_who_has_another(server: Started, token: str) -> None:
    """If-None-Match with another revision: all of it, with its length and its ETag."""
    with _ask(server, token, **{"If-None-Match": '"another"'}) as response:
        assert response.headers["Transfer-Encoding"] is None
        envelope = json.load(response)
    assert len(envelope["data"]) == LONG
    assert response.headers["ETag"] == f'"{envelope["revision"]}"'


def test_http_1_0_gets_a_length(server: Started, token: str) -> None:
    """A client that knows no chunks could not tell a broken list from a whole one."""
    with socket.create_connection((HOST, server.port), timeout=60) as client:
        client.sendall(f"GET {LIST} HTTP/1.0\r\nX-Auth-Token: {token}\r\n\r\n".encode())
        response = HTTPResponse(client)
        response.begin()
        assert response.headers["Content-Length"]
        assert len(json.load(response)["data"]) == LONG


@pytest.mark.parametrize("query", ["", "?accept=csv", "?filter_not_username=nobody", "?pretty_print=true"])
def test_a_fault_in_the_midst_breaks_the_connection(
    server: Started, token: str, database: psycopg.Connection, query: str
) -> None:
    """The last row cannot be read: the answer has begun by then, and ends without the chunk that ends it."""
    database.execute(
        "create or replace function unfolded(header text) returns text language plpgsql as $$ "
        "begin if header like 'sip:phone1@%' then raise 'broken'; end if; return header; end $$"
    )
    with _ask(server, token, LIST + query) as response:
        assert response.status == 200
        with pytest.raises(IncompleteRead) as broken:
            response.read()
    assert b"phone12000" in broken.value.partial
    assert b"revision" not in broken.value.partial


def _transactions(database: psycopg.Connection) -> int:
    row = database.execute(
        "select count(*) from pg_stat_activity where application_name = 'registrations-api' and xact_start is not null"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_slow_client_gets_all_while_the_database_is_done_with_it(
    server: Started, token: str, database: psycopg.Connection
) -> None:
    """Once it has kept the server waiting the rest is read into a file, so that no snapshot hinders VACUUM."""
    database.execute("update location set user_agent = repeat('x', 255), callid = repeat('y', 255)")
    with _ask(server, token) as response:
        pieces = []

        def is_over() -> bool:
            pieces.append(response.read(1 << 14))
            return not _transactions(database)

        wait_until(is_over, 60, "the transaction's end")
        rest = response.read()
    assert len(rest) > len(b"".join(pieces))
    assert len(json.loads(b"".join([*pieces, rest]))["data"]) == LONG


def test_a_client_that_reads_nothing_is_given_up(server: Started, token: str, database: psycopg.Connection) -> None:
    """The transaction is over soon, while the rest is kept for it; some time later its connection is."""
    database.execute("update location set user_agent = repeat('x', 255), callid = repeat('y', 255)")
    with _ask(server, token) as response:
        wait_until(lambda: _transactions(database), 30, "the list to be read")
        wait_until(lambda: not _transactions(database), 60, "the transaction's end")
        wait_until(
            lambda: "response not read by the client" in server.process.log_text(),
            60,
            "the end of the server's patience",
        )
        with pytest.raises((IncompleteRead, ConnectionError)):
            response.read()
