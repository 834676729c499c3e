"""Whether the directory may have changed, by PostgreSQL's own counting."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from sql.connections.database import connect
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sql.worker.enrichment import find_directory_state
from tests.stand.postgres import cluster
from tests.stand.process import wait_until

OWN = """
create or replace view directory as
select
    lower(s.username) as username, lower(s.domain) as realm, lower(s.username) as device_id,
    s.username::text as device_name, a.id::text as account_id, a.name as account_name, a.realm::text as account_realm,
    null::text as owner_id, null::text as owner_name, a.enabled, null::text as presence_id,
    true as suppress_unregister_notify, false as register_overwrite_notify
from {source} s join account a on a.realm = lower(s.domain)
"""


def _state(url: str, *changes: str) -> str | None:
    """The state after these changes, by a session that has ended: so they are counted."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version < 150000:
            pytest.skip("there is no state, see directory_state.sql")
        pid = connection.info.backend_pid
        for change in changes:
            connection.execute(change.encode())
    gone = "select not exists (select from pg_stat_activity where pid = %s)"
    with psycopg.connect(url, autocommit=True) as other:
        wait_until(lambda: other.execute(gone, (pid,)).fetchone() == (True,), 10, "its end")
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        return find_directory_state(connection)


@pytest.fixture
def url(kamdbctl_url: str) -> str:
    """A database of kamdbctl with our schema and one subscriber, where Kamailio's table is the directory."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    _state(
        kamdbctl_url,
        "insert into subscriber (username, domain) values ('anna', 'example.com')",
        "create table own (username text, domain text)",
        "insert into own values ('anna', 'example.com')",
    )
    return kamdbctl_url


@pytest.mark.parametrize(
    "change",
    [
        "insert into subscriber (username, domain) values ('bob', 'example.com')",
        "update subscriber set username = 'ann'",
        "delete from subscriber",
        "truncate subscriber",
        "insert into account (id, name, realm) values ('a', 'A', 'a.example.com')",
        OWN.format(source="own"),
    ],
)
def test_a_change_makes_another_state(url: str, change: str) -> None:
    """Of any table that the view reads, by whatever means, and of the view."""
    before = _state(url)
    assert before is not None
    assert _state(url) == before
    assert _state(url, change) not in {before, None}


@pytest.mark.parametrize(
    "nothing",
    [
        "insert into own values ('bob', 'example.com')",
        "insert into location (ruid, username, domain) values ('r', 'anna', 'example.com')",
        "vacuum full location",
        "analyze subscriber",
    ],
)
def test_what_is_not_the_directory_makes_none(url: str, nothing: str) -> None:
    """Phones register all the time."""
    assert _state(url, nothing) == _state(url)


def test_a_materialized_view_counts_when_it_is_refreshed(url: str) -> None:
    """And not when what it was made of changes."""
    before = _state(url, "create materialized view copied as select * from own", OWN.format(source="copied"))
    assert before is not None
    assert _state(url, "insert into own values ('bob', 'example.com')") == before
    assert _state(url, "refresh materialized view copied") not in {before, None}


def test_numbers_that_a_crash_set_to_zero_are_others(tmp_path: Path) -> None:
    """What was counted before and after it may be as many."""
    with cluster(tmp_path) as postgres:
        url = postgres.url()
        migrate(DatabaseSettings(database_url=url))
        before = _crashed(url)
        _state(url, "insert into account (id, name, realm) values ('a', 'A', 'a.example.com')")
        assert _crashed(url) not in {before, None}


def _crashed(url: str) -> str | None:
    """The state after the death of a session, which makes PostgreSQL start anew."""
    since = "select pg_stat_get_bgwriter_stat_reset_time()"
    with psycopg.connect(url, autocommit=True) as connection:
        before = connection.execute(since).fetchone()
        os.kill(connection.info.backend_pid, signal.SIGKILL)

    def is_back() -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(url) as connection:
            return connection.execute(since).fetchone() != before
        return False

    wait_until(is_back, 30, "PostgreSQL to recover")
    return _state(url)


@pytest.mark.parametrize(
    "changes",
    [
        ["create table parts (like own) partition by hash (username)", OWN.format(source="parts")],
        ["create table heir () inherits (own)", OWN.format(source="own")],
        [
            "create function read_own() returns setof own stable language sql begin atomic select * from own; end",
            OWN.format(source="read_own()"),
        ],
        [OWN.format(source="own") + " where now() > '2026-01-01'"],
        [OWN.format(source="own") + " where current_date > '2026-01-01'"],
        [OWN.format(source="own") + " where s.username <> current_setting('port')"],
        [OWN.format(source="own") + " where timestamptz '2026-01-01' > date '2026-01-01'"],
        ["alter table own enable row level security", OWN.format(source="own")],
        ["alter system set track_counts = off", "select pg_reload_conf()"],
    ],
    ids=[
        "partitions",
        "inheritance",
        "function",
        "now",
        "current_date",
        "setting",
        "operator",
        "row security",
        "not counted",
    ],
)
def test_where_the_numbers_do_not_tell_there_is_no_state(url: str, changes: list[str]) -> None:
    """So the comparison is made each time."""
    try:
        assert _state(url, *changes) is None
    finally:
        _state(url, "alter system reset track_counts", "select pg_reload_conf()")
