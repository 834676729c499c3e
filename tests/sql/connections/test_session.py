"""How a session of ours writes and reads values is ours to say: neither server, database, role nor URL changes it."""

from __future__ import annotations

import datetime
from threading import Event

import psycopg
import pytest
from psycopg import sql

from sql.connections.database import Connection, Database, connect
from sql.registrations.sources import Source, expire_sources, write_sources
from sql.settings import DatabaseSettings

HOSTILE = {
    "datestyle": ["German", "SQL, DMY", "SQL, MDY", "Postgres, DMY", "ISO, DMY"],
    "intervalstyle": ["iso_8601", "sql_standard", "postgres_verbose"],
    "timezone": ["Europe/Istanbul", "<+0545>-05:45"],
    "extra_float_digits": ["-15", "0"],
    "bytea_output": ["escape"],
    "array_nulls": ["off"],
    "client_encoding": ["LATIN1", "SQL_ASCII", "WIN1254"],
    "standard_conforming_strings": ["off"],
    "quote_all_identifiers": ["on"],
    "client_min_messages": ["error"],
    "default_transaction_isolation": ["serializable", "repeatable read"],
}
DAY = datetime.timedelta(days=1, seconds=1.5)
NOW = datetime.datetime(2026, 11, 28, 8, 30, tzinfo=datetime.UTC)


@pytest.fixture(params=[(name, value) for name, values in HOSTILE.items() for value in values], ids=" ".join)
def hostile_url(request: pytest.FixtureRequest, database: psycopg.Connection, database_url: str) -> str:
    """A database with one of these settings."""
    name, value = request.param
    alter = sql.SQL("alter database {} set {} = {}")
    database.execute(alter.format(sql.Identifier(database.info.dbname), sql.Identifier(name), value))
    return database_url


def expect_values(connection: Connection) -> None:
    """Each kind of value there and back."""
    given = (NOW, DAY, 1 / 3, b"\x00\\'\xff", "İdris \\u0041'", [None, "NULL", "x"])
    row = connection.execute(
        "select %s::timestamptz, %s::interval, %s::float8, %s::bytea, %s::text, %s::text[], '\\u0041'", given
    ).fetchone()
    assert row == (*given, "\\u0041")
    assert connection.execute("select 'location'::regclass::text").fetchone() == ("location",)
    assert connection.execute("show transaction_isolation").fetchone() == ("read committed",)
    warnings: list[str | None] = []
    connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
    connection.execute("do $$ begin raise warning 'heard'; end $$")
    assert warnings == ["heard"]


def test_values_come_back_as_they_went(hostile_url: str) -> None:
    """On a command's connection, and on each of a pool."""
    settings = DatabaseSettings(database_url=hostile_url)
    with connect(settings, application_name="test") as connection:
        expect_values(connection)
    with (
        Database(settings, application_name="test", pool_size=2) as pool,
        pool.connection() as first,
        pool.connection() as second,
    ):
        expect_values(first)
        expect_values(second)


def test_what_is_not_known_of_a_source_is_not_a_text(hostile_url: str) -> None:
    """An array with nulls is an argument there."""
    source = Source("r", "sip:192.0.2.1")
    with connect(DatabaseSettings(database_url=hostile_url), application_name="test") as connection:
        assert write_sources(connection, [source], age=0) == 1
        assert connection.execute("select from_user, from_host from registration_source").fetchall() == [(None, None)]
        expire_sources(connection, stopping=Event())
