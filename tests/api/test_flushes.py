"""What clients see of flushes: the DELETE's envelope, the list of flushes and one by its ID."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.location import AddBinding

LIST = "/v2/accounts/child/registrations/flushes"
UNIX_TO_GREGORIAN = 62167219200


def _ask(client: FlaskClient, directory: Directory, path: str, *, method: str = "GET", whose: str = "child") -> Any:
    return client.open(path, method=method, headers={"X-Auth-Token": directory.tokens[whose], "X-Request-ID": "req-7"})


def test_a_flush_that_cannot_reach_kamailio_is_promised_and_visible(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """200 with what is pending; the binding is in no list; the flush says who asked, when, and what went wrong."""
    before = int(time.time()) + UNIX_TO_GREGORIAN
    add_binding("bob", "child.test")
    answer = _ask(http, directory, "/v2/accounts/child/registrations/Bob", method="DELETE", whose="reseller").get_json()
    assert (answer["data"], answer["flushed"], answer["pending"]) == ("ok", 0, 1)
    assert _ask(http, directory, "/v2/accounts/child/registrations").get_json()["data"] == []
    assert _ask(http, directory, "/v2/accounts/child/registrations/count").get_json()["data"] == {"count": 0}
    assert database.execute("select count(*) from location").fetchone() == (1,)
    (shown,) = _ask(http, directory, LIST).get_json()["data"]
    assert shown["id"] == answer["flush_id"]
    assert (shown["username"], shown["cause"], shown["requested_by"]) == ("bob", "request", "reseller")
    assert shown["request_id"] == "req-7"
    assert before <= shown["requested"] <= int(time.time()) + UNIX_TO_GREGORIAN
    assert (shown["bindings"], shown["flushed"], shown["pending"], shown["superseded"]) == (1, 0, 1, 0)
    assert "finished" not in shown
    (node,) = shown["nodes"]
    assert (node["server_id"], node["attempts"]) == (0, 1)
    assert node["error"] == "KamailioUnreachable"
    assert "confirmed" not in node
    assert _ask(http, directory, f"{LIST}/{answer['flush_id']}").get_json()["data"] == shown


def test_what_a_token_may_leave_to_be_done_is_bounded(
    start_api: StartApi,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """429, and nothing is written, while Kamailio is away; other accounts are served, and this one when it is back."""
    http = start_api(kamailio_db_mode=1)
    monkeypatch.setattr("api.actions.removal.BACKLOG_BINDINGS", 5)
    for name in ("bob", "carol"):
        add_binding(name, "child.test")
    all_of_it = "/v2/accounts/child/registrations"
    answers = [_ask(http, directory, all_of_it, method="DELETE") for _ in range(5)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert _ask(http, directory, f"{all_of_it}/bob", method="DELETE").status_code == 429
    assert len(_ask(http, directory, LIST).get_json()["data"]) == 3
    others = "/v2/accounts/sibling/registrations/alice"
    assert _ask(http, directory, others, method="DELETE", whose="sibling").status_code == 200
    database.execute("update flush_binding set settled_at = now()")
    assert _ask(http, directory, all_of_it, method="DELETE").status_code == 200


def test_flushes_come_newest_first_and_in_pages(http: FlaskClient, directory: Directory) -> None:
    """The same paging as of registrations."""
    ids = [
        _ask(http, directory, "/v2/accounts/child/registrations/bob", method="DELETE").get_json()["flush_id"]
        for _ in range(3)
    ]
    assert [each["id"] for each in _ask(http, directory, LIST).get_json()["data"]] == ids[::-1]
    first = _ask(http, directory, f"{LIST}?page_size=2").get_json()
    assert [each["id"] for each in first["data"]] == [ids[2], ids[1]]
    second = _ask(http, directory, f"{LIST}?page_size=2&start_key={first['next_start_key']}").get_json()
    assert [each["id"] for each in second["data"]] == [ids[0]]
    assert "next_start_key" not in second


def test_flushes_come_oldest_first_if_wanted(http: FlaskClient, directory: Directory) -> None:
    """The same order as of registrations, by either name; pages follow it."""
    ids = [
        _ask(http, directory, "/v2/accounts/child/registrations/bob", method="DELETE").get_json()["flush_id"]
        for _ in range(3)
    ]
    for order in ("ascending=true", "descending=false"):
        assert [each["id"] for each in _ask(http, directory, f"{LIST}?{order}").get_json()["data"]] == ids
    first = _ask(http, directory, f"{LIST}?ascending=true&page_size=2").get_json()
    assert [each["id"] for each in first["data"]] == ids[:2]
    following = f"{LIST}?ascending=true&page_size=2&start_key={first['next_start_key']}"
    assert [each["id"] for each in _ask(http, directory, following).get_json()["data"]] == ids[2:]


def test_a_flush_of_another_account_is_unknown(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """Its ID opens nothing under an account of one's own; one that never was is the same."""
    add_binding("alice", "sibling.test")
    flush_id = _ask(http, directory, "/v2/accounts/sibling/registrations", method="DELETE", whose="sibling").get_json()[
        "flush_id"
    ]
    for unknown in (flush_id, "0" * 32, "no%00thing"):
        response = _ask(http, directory, f"{LIST}/{unknown}")
        assert (response.status_code, response.get_json()["message"]) == (404, "bad_identifier"), unknown
    assert _ask(http, directory, LIST).get_json()["data"] == []
    assert _ask(http, directory, f"/v2/accounts/sibling/registrations/flushes/{flush_id}").status_code == 403


def test_a_username_that_nobody_has_leaves_no_flush(http: FlaskClient, directory: Directory) -> None:
    """404, and nothing is promised."""
    assert _ask(http, directory, "/v2/accounts/child/registrations/nobody", method="DELETE").status_code == 404
    assert _ask(http, directory, LIST).get_json()["data"] == []


def test_a_device_called_flushes_can_be_flushed(
    http: FlaskClient, directory: Directory, database: psycopg.Connection
) -> None:
    """DELETE has usernames where GET has the list."""
    database.execute("insert into device (id, account_id, sip_username) values ('d', 'child', 'flushes')")
    assert _ask(http, directory, LIST, method="DELETE").status_code == 200


def test_check_sync_of_a_flush_is_true_or_false(http: FlaskClient, directory: Directory) -> None:
    """Anything else is refused, and nothing is promised."""
    response = _ask(http, directory, "/v2/accounts/child/registrations/bob?check_sync=perhaps", method="DELETE")
    assert (response.status_code, list(response.get_json()["data"])) == (400, ["check_sync"])
    assert _ask(http, directory, LIST).get_json()["data"] == []


def test_an_api_with_several_nodes_tells_of_each(
    start_api: StartApi, directory: Directory, add_binding: AddBinding
) -> None:
    """A binding is its own node's; that of a node which is not set may be at any."""
    client = start_api(kamailio_rpc="1=http://127.0.0.1:1/RPC,2=http://127.0.0.1:2/RPC")
    add_binding("bob", "child.test", server_id=1)
    add_binding("stranger", "child.test", server_id=9)
    answer = _ask(client, directory, "/v2/accounts/child/registrations", method="DELETE").get_json()
    assert answer["pending"] == 2
    shown = _ask(client, directory, f"{LIST}/{answer['flush_id']}").get_json()["data"]
    assert [node["server_id"] for node in shown["nodes"]] == [1, 2]
