"""What the worker writes of where REGISTERs came from: in one statement, and only what is not known yet."""

from __future__ import annotations

import psycopg
import pytest

from sql.registrations.sources import Source, write_sources

Row = tuple[str, str | None, str | None, str | None]


def rows(database: psycopg.Connection) -> list[Row]:
    """The table."""
    return database.execute(
        "select ruid, received, from_user, from_host from registration_source order by ruid"
    ).fetchall()


def versions(database: psycopg.Connection) -> list[tuple[str, str, str]]:
    """Which version of each row is there, and whether anything has locked it since."""
    return database.execute("select ruid, xmin::text, xmax::text from registration_source order by ruid").fetchall()


@pytest.fixture
def known(database: psycopg.Connection) -> list[Source]:
    """Three rows."""
    said = [
        Source("a", "sip:192.0.2.1:1"),
        Source("b", None, "boss", "gw.test"),
        Source("c", "sip:192.0.2.3:3", "o'x", None),
    ]
    assert write_sources(database, said, age=0) == 3
    return said


def test_new_ones_are_written_and_known_ones_are_not_touched(database: psycopg.Connection, known: list[Source]) -> None:
    """Not even locked: said again each hour by each phone, they cost no write."""
    before = versions(database)
    assert write_sources(database, [*known, Source("d", "sip:192.0.2.4:4")], age=0) == 1
    assert versions(database)[:3] == before
    assert [row[0] for row in rows(database)] == ["a", "b", "c", "d"]


def test_what_changed_is_written_and_what_is_over_goes(database: psycopg.Connection, known: list[Source]) -> None:
    """Of each binding the whole of what was said last; nothing said means that nothing is to be known."""
    said = [Source("a", "sip:192.0.2.9:9"), Source("b"), Source("c", "sip:192.0.2.3:3"), Source("never known")]
    assert write_sources(database, said, age=0) == 3
    assert rows(database) == [("a", "sip:192.0.2.9:9", None, None), ("c", "sip:192.0.2.3:3", None, None)]


def test_what_was_held_for_long_is_not_written_over_what_came_since(
    database: psycopg.Connection, known: list[Source]
) -> None:
    """Another worker may have led meanwhile."""
    assert (
        write_sources(database, [Source("a", "sip:192.0.2.9:9"), Source("b"), Source("d", "sip:192.0.2.4:4")], age=60)
        == 1
    )
    assert [row[:2] for row in rows(database)] == [
        *((each.ruid, each.source) for each in known),
        ("d", "sip:192.0.2.4:4"),
    ]


def test_what_was_written_before_the_clock_was_set_back_is_written_over(
    database: psycopg.Connection, known: list[Source]
) -> None:
    """Not only when the clock has come there again."""
    database.execute("update registration_source set updated_at = now() + interval '1 year'")
    assert write_sources(database, [Source("a", "sip:192.0.2.9:9"), Source("b")], age=0.5) == 2
    assert [row[:2] for row in rows(database)] == [("a", "sip:192.0.2.9:9"), ("c", "sip:192.0.2.3:3")]


def test_the_commit_waits_for_no_disk(database: psycopg.Connection) -> None:
    """What a crash takes back is announced again."""
    with database.transaction():
        write_sources(database, [Source("a", "sip:192.0.2.1:1")], age=0)
        assert database.execute("show synchronous_commit").fetchone() == ("off",)
