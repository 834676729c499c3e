"""Paging, order and filters of the list: pages join, conditions hold, bad values are named."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding

PATH = "/v2/accounts/child/registrations"


def _ask(http: FlaskClient, directory: Directory, **parameters: Any) -> TestResponse:
    return http.get(PATH, query_string=parameters, headers={"X-Auth-Token": directory.tokens["child"]})


def _names(http: FlaskClient, directory: Directory, **parameters: Any) -> list[str]:
    response = _ask(http, directory, **parameters)
    assert response.status_code == 200, response.text
    return [each["username"] for each in response.get_json()["data"]]


@pytest.mark.parametrize("page_size", [1, 3, 7, 8, 100])
@pytest.mark.parametrize("ascending", ["true", "false"])
@pytest.mark.parametrize("filters", [{}, {"filter_not_user_agent": "Other/1"}])
def test_pages_join_to_the_unpaged_list(
    http: FlaskClient,
    directory: Directory,
    add_binding: AddBinding,
    page_size: int,
    ascending: str,
    filters: dict[str, str],
) -> None:
    """Whatever the size, the order and the filter; the last page has no next_start_key."""
    for number in range(7):
        add_binding(f"phone{number}", "child.test", user_agent="Other/1" if number % 3 == 0 else "Phone/1")
    whole = _names(http, directory, ascending=ascending, **filters)
    joined: list[str] = []
    more: dict[str, str] = {}
    while True:
        envelope = _ask(http, directory, page_size=page_size, ascending=ascending, **filters, **more).get_json()
        assert envelope["page_size"] == len(envelope["data"]) <= page_size
        joined += [each["username"] for each in envelope["data"]]
        if "next_start_key" not in envelope:
            break
        assert len(envelope["data"]) == page_size
        more = {"start_key": envelope["next_start_key"]}
    assert joined == whole
    assert len(whole) == (4 if filters else 7)


def test_pages_join_while_registrations_come_refresh_and_go(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """What is there from the first page to the last is on exactly one of them."""
    chance = random.Random(7)
    for number in range(40):
        add_binding(f"stays{number}", "child.test")
        add_binding(f"goes{number}", "child.test")
    seen: list[str] = []
    more: dict[str, str] = {}
    for round_number in range(100):
        envelope = _ask(http, directory, page_size=5, **more).get_json()
        seen += [each["username"] for each in envelope["data"]]
        if "next_start_key" not in envelope:
            break
        more = {"start_key": envelope["next_start_key"]}
        add_binding(f"comes{round_number}", "child.test")
        database.execute("delete from location where username = %s", (f"goes{chance.randrange(40)}",))
        database.execute(
            "update location set last_modified = last_modified + 5, cseq = cseq + 1 where username = %s",
            (f"stays{chance.randrange(40)}",),
        )
    assert [name for name in seen if name.startswith("stays")] == [f"stays{number}" for number in range(39, -1, -1)]
    assert len(seen) == len(set(seen))


def test_paginate_false_is_the_whole_list(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> None:
    """It goes before a page size; without one, paginate=true and a start key give the default size."""
    for number in range(120):
        add_binding(f"phone{number}", "child.test")
    assert len(_names(http, directory)) == 120
    assert len(_names(http, directory, paginate="false", page_size=5)) == 120
    assert len(_names(http, directory, paginate="true")) == 50
    assert len(_names(http, directory, page_size=5)) == 5
    start = _ask(http, directory, page_size=1).get_json()["next_start_key"]
    assert _names(http, directory, start_key=start) == [f"phone{number}" for number in range(118, 68, -1)]
    assert len(_names(http, directory, start_key=start, paginate="false")) == 119
    assert len(_names(http, directory, start_key="")) == 120


def test_every_list_says_how_many_it_has(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> None:
    """As in the example of Crossbar's documentation, which is of a list without paging."""
    assert _ask(http, directory).get_json()["page_size"] == 0
    add_binding("a", "child.test")
    add_binding("b", "child.test")
    assert _ask(http, directory).get_json()["page_size"] == 2
    assert _ask(http, directory, filter_username="a").get_json()["page_size"] == 1
    assert _ask(http, directory, page_size=5).get_json()["page_size"] == 2


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"filter_username": "b"}, ["b"]),
        ({"filter_not_username": "b"}, ["c", "a"]),
        ({"filter_username": "B"}, []),
        ({"filter_username": '["a", "c", "nobody", 7]'}, ["c", "a"]),
        ({"filter_not_username": '["a", "c"]'}, ["b"]),
        ({"filter_username": '["a"'}, []),
        ({"filter_username": "[" * 5000}, []),
        ({"filter_expires": "0"}, ["c", "b", "a"]),
        ({"filter_proxy_path": ""}, ["c", "a"]),
        ({"filter_not_proxy_path": ""}, ["b"]),
        ({"filter_not_proxy_path": "sip:elsewhere"}, ["c", "b", "a"]),
        ({"filter_contact_port": "5062", "filter_username": "a"}, ["a"]),
        ({"filter_contact_port": "5063", "filter_username": "c"}, []),
        ({"filter_suppress_unregister_notify": "true"}, ["c", "b", "a"]),
        ({"filter_suppress_unregister_notify": "false"}, []),
        ({"has_key": "proxy_path"}, ["b"]),
        ({"key_missing": "proxy_path"}, ["c", "a"]),
        ({"has_key": "owner_id"}, ["c", "b", "a"]),
        ({"has_value": "owner_id"}, []),
        ({"missing_value": "proxy_path"}, ["c", "a"]),
        ({"value_missing": "proxy_path"}, ["c", "a"]),
        ({"has_key": "network_ip"}, ["c", "b", "a"]),
        ({"has_value": "network_ip"}, ["b", "a"]),
        ({"missing_value": "network_ip"}, ["c"]),
        ({"has_value": "expires"}, []),
        ({"has_value": "suppress_unregister_notify"}, ["c", "b", "a"]),
        ({"has_value": "register_overwrite_notify"}, ["c", "b", "a"]),
        ({"created_from": 62167219200 + 2000}, ["c", "b"]),
        ({"created_to": 62167219200 + 2000}, ["b", "a"]),
        ({"created_from": 62167219200 + 1500, "created_to": 62167219200 + 2500}, ["b"]),
        ({"modified_from": 62167219200 + 3000}, ["c"]),
        ({"modified_to": 62167219200 + 1000}, ["a"]),
        ({"filter_nonsense": "x"}, []),
        ({"filter_not_nonsense": "x"}, ["c", "b", "a"]),
        ({"filter_nonsense": ""}, ["c", "b", "a"]),
        ({"filter_not_nonsense": ""}, []),
        ({"has_key": "nonsense"}, []),
        ({"key_missing": "nonsense"}, ["c", "b", "a"]),
        ({"has_key": "position"}, []),
        ({"filter_account_id": "child"}, []),
        ({"filter_username": "b' or true --"}, []),
        ({"filter_username": "%s %(limit)s {key}"}, []),
        ({"nonsense": "x", "_": "1700000000"}, ["c", "b", "a"]),
        ({"ascending": "true"}, ["a", "b", "c"]),
        ({"descending": "false"}, ["a", "b", "c"]),
        ({"descending": "true"}, ["c", "b", "a"]),
        # PHP's http_build_query writes booleans so.
        ({"ascending": "1"}, ["a", "b", "c"]),
        ({"ascending": "0"}, ["c", "b", "a"]),
        ({"descending": "0"}, ["a", "b", "c"]),
        ({"paginate": "0", "page_size": "1"}, ["c", "b", "a"]),
        ({"filter_suppress_unregister_notify": "1"}, ["c", "b", "a"]),
        ({"filter_not_register_overwrite_notify": "0"}, []),
        ({"filter_register_overwrite_notify": '["0", "1"]'}, ["c", "b", "a"]),
        # Python writes them so.
        ({"filter_suppress_unregister_notify": "True"}, ["c", "b", "a"]),
        ({"filter_not_register_overwrite_notify": '["False"]'}, []),
    ],
)
def test_conditions_hold(
    http: FlaskClient,
    directory: Directory,
    add_binding: AddBinding,
    parameters: dict[str, Any],
    expected: list[str],
) -> None:
    """All that are given hold together; a key that no registration has is missing from each.

    What a filter's value stands for, and what is empty, is as in Kazoo (public code: crossbar_filter.erl).
    """
    for number, name in enumerate("abc", start=1):
        add_binding(
            name,
            "child.test",
            expires=0,
            last_modified=number * 1000,
            path="<sip:edge;lr>" if name == "b" else None,
            **({"received": None, "contact": "tel:+4930123"} if name == "c" else {}),
        )
    assert _names(http, directory, **parameters) == expected


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("page_size", "0", "minimum"),
        ("page_size", "1001", "maximum"),
        ("page_size", "ten", "type"),
        ("page_size", "-1", "type"),
        ("page_size", "", "type"),
        ("page_size", "9" * 40, "type"),
        ("start_key", "zz/..", "pattern"),
        ("start_key", "f" * 40, "pattern"),
        ("ascending", "maybe", "type"),
        ("paginate", "2", "type"),
        ("created_from", "yesterday", "type"),
        ("created_to", "1.5", "type"),
        ("modified_from", "\u0663", "type"),
        ("modified_to", "9" * 16, "type"),
        ("filter_username", "a\0b", "pattern"),
        ("filter_username", r'["\u0000"]', "pattern"),
        ("filter_not_username", r'["\ud800"]', "pattern"),
        ("descending", "no", "type"),
        ("accept", "xml", "enum"),
    ],
)
def test_a_bad_value_is_named(http: FlaskClient, directory: Directory, name: str, value: str, rule: str) -> None:
    """400 with the parameter and the rule that it breaks."""
    response = _ask(http, directory, **{name: value})
    envelope = response.get_json()
    assert (response.status_code, envelope["message"]) == (400, "invalid data")
    assert envelope["data"].keys() == {name}
    assert envelope["data"][name].keys() == {rule}
    assert envelope["data"][name][rule]["message"]


def test_a_long_list_goes_through_a_file(http: FlaskClient, directory: Directory, database: psycopg.Connection) -> None:
    """More than memory is given for arrives whole, with its length, and with the same revision each time."""
    database.execute(
        "insert into location (ruid, username, domain, contact, expires) "
        "select 'r' || n, 'user' || n, 'child.test', 'sip:x@192.0.2.1', 0 from generate_series(1, 3000) n"
    )
    first = _ask(http, directory)
    body = first.get_data()
    assert first.content_length == len(body) > 1 << 20
    assert [each["username"] for each in first.get_json()["data"]] == [f"user{n}" for n in range(3000, 0, -1)]
    with _ask(http, directory) as again:
        assert again.headers["ETag"] == first.headers["ETag"]
    headers = {"X-Auth-Token": directory.tokens["child"], "If-None-Match": first.headers["ETag"]}
    with http.get(PATH, headers=headers) as unchanged:
        assert unchanged.status_code == 304
    first.close()


def test_a_fault_in_the_midst_of_a_list_is_an_error_and_not_half_a_list(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """A row that cannot be read, behind hundreds that can, fails the whole answer."""
    for number in range(3):
        add_binding(f"phone{number}", "child.test")
    database.execute(
        "create or replace function unfolded(header text) returns text language plpgsql as $$ "
        "begin if header like '%phone0%' then raise 'broken'; end if; return header; end $$"
    )
    response = _ask(http, directory)
    assert response.status_code == 500
    assert "data" in response.get_json()
    assert "phone" not in response.text


def test_pretty_printing(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> None:
    """By header or parameter; the data is the same."""
    add_binding("bob", "child.test")
    plain = _ask(http, directory)
    for pretty in (
        _ask(http, directory, pretty_print="true"),
        http.get(PATH, headers={"X-Auth-Token": directory.tokens["child"], "X-Pretty-Print": "true"}),
        _ask(http, directory, pretty_print="1"),
    ):
        assert '\n  "username": "bob"' in pretty.text
        assert pretty.get_json()["data"] == plain.get_json()["data"]
    assert "\n" not in plain.text.strip()


def test_a_page_that_another_follows_is_another_answer(
    http: FlaskClient, directory: Directory, add_binding: AddBinding
) -> None:
    """If-None-Match must not hide that there is a next page now."""
    add_binding("a", "child.test")
    add_binding("b", "child.test")
    first = _ask(http, directory, page_size=2, ascending="true")
    add_binding("c", "child.test")
    headers = {"X-Auth-Token": directory.tokens["child"], "If-None-Match": first.headers["ETag"]}
    again = http.get(f"{PATH}?page_size=2&ascending=true", headers=headers)
    assert again.status_code == 200
    assert again.get_json()["revision"] == first.get_json()["revision"]
    assert again.get_json()["next_start_key"]


def test_no_shared_cache_may_keep_an_answer(http: FlaskClient, directory: Directory) -> None:
    """It holds personal data and the token, and differs by headers."""
    response = _ask(http, directory)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert {"Accept", "X-Auth-Token"} <= set(response.headers["Vary"].replace(" ", "").split(","))


def test_a_device_with_two_aors_is_listed_once_a_binding(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """An operator's own directory may have it; list, count and pages agree all the same."""
    definition = database.execute("select pg_get_viewdef('directory'::regclass)").fetchone()
    assert definition is not None
    database.execute(
        f"create or replace view directory as {definition[0].rstrip(';')} union all "
        "select 'bob', 'pbx.test', 'device-bob', '', 'child', 'A Child', 'child.test', null, null, true, null, true, "
        "false"
    )
    add_binding("bob", "child.test")
    add_binding("bob", "pbx.test")
    assert _names(http, directory) == ["bob", "bob"]
    page = _ask(http, directory, page_size=1).get_json()
    assert "next_start_key" not in _ask(http, directory, page_size=1, start_key=page["next_start_key"]).get_json()
