"""The fast ways to a registration's texts give what the slow ones give."""

from __future__ import annotations

import random
import time
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from sql.connections.database import connect
from sql.registrations.listing import list_registrations
from sql.registrations.model import CELLS, NULLABLE_KEYS, ORDERED_KEYS
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.sql.registrations import location_samples

# Pieces of URIs, sensible and not, to be put together at random.
PIECES = [
    *("sip:", "sips:", "SIP:", "tel:", "alice", "@", "@", ":", ":5060", ":0", "192.0.2.1", "host.example-1.com"),
    *("[::1]", ";transport=tcp", ";transport=ws", ";Transport=TLS", ";transport=", "?", "?x=", ">", ";", ";ob", "]"),
    *("[", " ", "%40", ";transport=udp", "\u00c3\u00a9", "\u65e5", "\n", '"', "\x1f", "5061", "=", "/"),
]
STRANGE = [
    *("\x1f", "a\x1fb\x1fc", '"', "\\", '\\u001f"', "\x01\t\n\x7f", "%s %% %(a)s", "{0}", "'", ""),
    *("\u00c3\u00a9", "\u65e5\u672c"),
]


def _uris(seed: int) -> list[str]:
    chance = random.Random(seed)
    usual = [
        "".join(
            chance.choice(choices)
            for choices in (
                ["sip:", "sip:", "sips:", "SIP:", ""],
                ["alice@", "", "a;transport=tcp@", "\u00c3\u00a9@"],
                ["192.0.2.1", "host.example", "[::1]", "h_h"],
                [":5060", "", ":", ":5o"],
                [
                    "",
                    ";transport=tcp",
                    ";x=@y",
                    "?a=b;transport=ws",
                    ";Transport=tls",
                    ";transport=tcp;transport=ws",
                    ">",
                ],
            )
        )
        for _ in range(300)
    ]
    return usual + ["".join(chance.choices(PIECES, k=chance.randrange(1, 9))) for _ in range(1500)]


@pytest.mark.parametrize("seed", range(4))
def test_the_short_way_to_host_and_port_gives_what_the_long_one_gives(database: psycopg.Connection, seed: int) -> None:
    """Or nothing, and then the long one is taken."""
    rows = database.execute(
        "select uri, case when hostport_is_plain(sip_uri_middle(uri)) then sip_uri_middle(uri) end, "
        "sip_uri_hostport(uri) from unnest(%s::text[]) uri",
        (_uris(seed),),
    ).fetchall()
    short = [row for row in rows if row[1] is not None]
    assert len(short) > 10
    assert [row for row in short if row[1] != row[2]] == []


@pytest.mark.parametrize("seed", range(4))
def test_the_short_way_to_the_transport_gives_what_the_long_one_gives(database: psycopg.Connection, seed: int) -> None:
    """The expression is that of migration 0004, which had the long one only."""
    rows = database.execute(
        r"""
        select uri, sip_uri_transport(uri), case when uri ilike '%%;transport=%%'
            then lower(substring(substr(uri, strpos(uri, '@') + 1) from '(?i)^[^?]*;transport=([a-z-]+)')) end
        from unnest(%s::text[]) uri
        """,
        (_uris(seed),),
    ).fetchall()
    assert len([row for row in rows if row[1]]) > 10
    assert [row for row in rows if row[1] != row[2]] == []


def _shown(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_a_list_has_what_the_view_has(
    directory: Directory, database: psycopg.Connection, database_url: str, add_binding: AddBinding
) -> None:
    """Key by key, for the real rows and for texts that hold whatever separates texts here or in JSON."""
    location_samples.load(database, midnight=int(time.time()) - 76_911)
    database.execute("update location set domain = 'child.test'")
    for number, strange in enumerate(STRANGE):
        texts = {
            "user_agent": strange,
            "callid": strange * 2,
            "path": strange,
            "contact": f"sip:{strange}@h;x={strange}",
        }
        add_binding(
            f"strange{number}{strange}", "child.test", **texts, received=None if number % 2 else f"sip:{strange}"
        )
    view = {
        row["id"]: row
        for row in database.cursor(row_factory=dict_row).execute(
            "select * from registrations where account_id = 'child'"
        )
    }
    assert len(view) > len(STRANGE) + 20
    with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
        positions, cells = [], []
        for some in list_registrations(connection, "child", ascending=True):
            positions += some.positions
            cells += some.cells
    assert positions == sorted(view)
    for number, position in enumerate(positions):
        values = cells[number * CELLS : (number + 1) * CELLS]
        assert values == [_shown(view[position][key]) for key in ORDERED_KEYS]
        assert "" not in [view[position][key] for key in NULLABLE_KEYS]  # or else it would look like null
