"""Pages of whatever size, order and filters join to the list without pages, also while registrations come and go."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from sql.worker.enrichment import enrich_pending
from tests.fixtures.churn import Writer
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding

STAYING = 30
COMING_AND_GOING = 20
# Oldest first, what comes is always still ahead: a walk ends for sure only when nothing more comes.
RESTLESS_PAGES = 40
MOST_PAGES = RESTLESS_PAGES + STAYING + 2 * COMING_AND_GOING
SEEDS = range(24)
COMPARED_KEYS = ["contact_port", "proxy_protocol", "proxy_path", "user_agent", "source_ip", "expires", "owner_id"]
BOUNDS = {
    "created_from": ("initial_registration", -1),
    "created_to": ("initial_registration", 1),
    "modified_from": ("last_registration", -1),
    "modified_to": ("last_registration", 1),
}


@dataclass(frozen=True)
class Lists:
    """The list of the account child, as often as one likes to ask."""

    http: FlaskClient
    token: str

    def ask(self, parameters: dict[str, Any]) -> dict[str, Any]:
        response = self.http.get(
            "/v2/accounts/child/registrations", query_string=parameters, headers={"X-Auth-Token": self.token}
        )
        assert response.status_code == 200, response.text
        envelope: dict[str, Any] = response.get_json()
        return envelope


@pytest.fixture
def lists(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> Lists:
    """Bindings that differ in all that can be asked for; some of them the worker has seen."""
    chance, now = random.Random(0), int(time.time())
    for number in range(STAYING):
        add_binding(
            "bob" if number % 7 == 0 else f"stays{number}",
            "child.test",
            contact=f"sip:phone@192.0.2.10:{5060 + chance.randrange(3)}",
            received=chance.choice([None, "sip:198.51.100.7:33333", "sip:198.51.100.8:33333;transport=ws"]),
            path=chance.choice([None, "<sip:edge1;lr>", "<sip:edge2;lr>"]),
            socket=chance.choice(["udp:203.0.113.1:5060", "tcp:203.0.113.1:5060"]),
            user_agent=chance.choice(["", "Phone/1", "Phone/2"]),
            expires=chance.choice([0, now + 3600, now + 7200]),
            last_modified=now - chance.randrange(900),
            first_registered_at=time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(now - 1000 - chance.randrange(900))),
            enriched_at=None,
        )
    return Lists(http, directory.tokens["child"])


@pytest.fixture
def writer(lists: Lists, database: psycopg.Connection) -> Writer:
    """Adds bindings that come and go."""
    writer = Writer("writer", account="child", size=COMING_AND_GOING)
    writer.begin(database)
    enrich_pending(database, limit=(STAYING + COMING_AND_GOING) // 2)
    return writer


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _true_of(registration: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Up to three conditions of any kind that hold for this registration."""
    conditions: dict[str, Any] = {}
    for _ in range(chance.randrange(4)):
        key = chance.choice(COMPARED_KEYS)
        value = _text(registration.get(key, ""))
        bound = chance.choice(list(BOUNDS))
        bounded, direction = BOUNDS[bound]
        is_empty = value in {"", "0", "undefined"}
        conditions |= chance.choice(
            [
                {f"filter_{key}": value},
                {f"filter_{key}": json.dumps([value, "other"])},
                {f"filter_not_{key}": "other"},
                {"has_key" if key in registration else "key_missing": key},
                {"missing_value" if is_empty else "has_value": key},
                {bound: registration[bounded] + direction * chance.randrange(300)},
            ]
        )
    return conditions


def _call_ids(envelope: dict[str, Any]) -> list[str]:
    return [each["call_id"] for each in envelope["data"]]


def _walk(
    lists: Lists, query: dict[str, Any], page_size: int, between_pages: Callable[[], None]
) -> tuple[list[str], list[list[str]]]:
    """From the first page to the last: what the pages had, and what the list without pages was at each of them."""
    joined: list[str] = []
    wholes: list[list[str]] = []
    start: dict[str, str] = {}
    for number in range(MOST_PAGES):
        whole, page = lists.ask(query), lists.ask({**query, "page_size": page_size, **start})
        wholes.append(_call_ids(whole))
        assert len(page["data"]) == page["page_size"] <= page_size
        if page["data"]:
            at = wholes[-1].index(page["data"][0]["call_id"])
            assert page["data"] == whole["data"][at : at + page_size]
        joined += _call_ids(page)
        if "next_start_key" not in page:
            assert joined[-1:] == wholes[-1][-1:] or not page["data"]
            return joined, wholes
        assert page["page_size"] == page_size
        start = {"start_key": page["next_start_key"]}
        if number < RESTLESS_PAGES:
            between_pages()
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_join_while_registrations_come_and_go(
    lists: Lists, writer: Writer, database: psycopg.Connection, seed: int
) -> None:
    """What the list without pages has from the first page to the last is on one page, in order; nothing is on two; each
    page is a piece of the list of its moment. While nothing changes, the pages are the list."""
    chance = random.Random(seed)
    registration = chance.choice([each for each in lists.ask({})["data"] if "writer" not in each["call_id"]])
    query = _true_of(registration, chance) | chance.choice([{}, {"ascending": "true"}, {"descending": "false"}])
    page_size = chance.choice([1, 2, 3, 5, 8, 13, 100])

    joined, wholes = _walk(lists, query, page_size, lambda: None)
    assert joined == wholes[0]
    assert registration["call_id"] in joined

    def come_and_go() -> None:
        for _ in range(chance.randrange(4)):
            writer.change(database)
        database.execute(
            "update location set last_modified = last_modified + 1, cseq = cseq + 1 where callid = %s",
            (f"call-{chance.randrange(STAYING) + 1}",),
        )
        if chance.random() < 0.3:
            enrich_pending(database, limit=3)

    joined, wholes = _walk(lists, query, page_size, come_and_go)
    always = set.intersection(*map(set, wholes))
    assert len(joined) == len(set(joined))
    assert [each for each in joined if each in always] == [each for each in wholes[0] if each in always]
    assert set(joined) <= set().union(*wholes)
