"""Whether the directory has changed, and what the triggers that count it cost those who write it: nothing."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from sql.connections.database import connect
from sql.directory.changes import find_directory_state, is_change_open
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
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
COUNTED = """
create trigger directory_note_change after insert or update or delete or truncate on {table}
    for each statement execute function directory_note_change()
"""
ADD = "insert into subscriber (username, domain) values ('bob', 'example.com')"


def _state(url: str, *changes: str) -> str | None:
    """The state after these changes by another session."""
    with psycopg.connect(url, autocommit=True) as connection:
        for change in changes:
            connection.execute(change.encode())
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
        ADD,
        "update subscriber set username = 'ann'",
        "delete from subscriber",
        "truncate subscriber",
        "copy subscriber (username, domain) from program 'echo bob,example.com' (format csv)",
        f"set session_replication_role = replica; {ADD}",
        "insert into account (id, name, realm) values ('a', 'A', 'a.example.com')",
        "create or replace function kamailio_default_realm() returns text immutable return 'example.com'",
        OWN.format(source="subscriber"),
    ],
)
def test_a_change_makes_another_state_at_once(url: str, change: str) -> None:
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
        "vacuum full subscriber",
        "analyze subscriber",
    ],
)
def test_what_is_not_the_directory_makes_none(url: str, nothing: str) -> None:
    """Phones register all the time."""
    assert _state(url, nothing) == _state(url)


@pytest.mark.parametrize(
    "changes",
    [
        [OWN.format(source="own")],
        ["create materialized view copied as select * from own", OWN.format(source="copied")],
        ["create table parts (like own) partition by hash (username)", OWN.format(source="parts")],
        ["create table heir () inherits (own)", COUNTED.format(table="own"), OWN.format(source="heir")],
        [
            "create function read_own() returns setof own stable language sql as 'select * from own'",
            OWN.format(source="read_own()"),
        ],
        ["alter table subscriber disable trigger directory_note_change"],
    ],
    ids=["own table", "materialized view", "partitions", "inheritance", "function", "switched off"],
)
def test_where_nobody_counts_there_is_no_state(url: str, changes: list[str]) -> None:
    """So the comparison is made each time."""
    assert _state(url, *changes) is None


def test_who_counts_the_changes_of_his_own_table_is_compared_after_a_change_only(url: str) -> None:
    """One trigger on each table that the view reads."""
    before = _state(url, COUNTED.format(table="own"), OWN.format(source="own"))
    assert before is not None
    assert _state(url, "insert into own values ('bob', 'example.com')") not in {before, None}


def test_who_writes_subscriber_needs_no_right_of_ours(url: str) -> None:
    """Such as the role of a web front end."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create role front_end")
        try:
            connection.execute("revoke usage on schema public from public")
            connection.execute("grant usage on schema public to front_end")
            connection.execute("grant all on subscriber to front_end")
            connection.execute("grant usage on sequence subscriber_id_seq to front_end")
            before = _state(url)
            connection.execute("set role front_end")
            connection.execute(ADD)
            connection.execute("update subscriber set domain = 'example.net' where username = 'bob'")
            connection.execute("delete from subscriber where username = 'bob'")
            assert _state(url) != before
        finally:
            connection.execute("reset role; drop owned by front_end; drop role front_end")


def test_a_change_is_made_even_if_it_cannot_be_counted(url: str) -> None:
    """Whatever became of our sequence."""
    assert _state(url, "alter sequence directory_change maxvalue 2 no cycle", ADD, ADD.replace("bob", "carl"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop sequence directory_change")
        connection.execute(ADD.replace("bob", "dave"))
        assert connection.execute("select count(*) from subscriber").fetchone() == (4,)


def test_writers_do_not_wait_for_each_other(url: str) -> None:
    """Nor does who looks wait for them; a change is open until its transaction ends, be it undone in part."""
    with (
        psycopg.connect(url) as first,
        psycopg.connect(url) as second,
        connect(DatabaseSettings(database_url=url), application_name="test") as looking,
    ):
        assert not is_change_open(looking)
        for number, session in enumerate((first, second)):
            session.execute("set lock_timeout = 1")
            session.execute("savepoint before")
            session.execute(ADD.replace("bob", f"bob{number}"))
            session.execute("rollback to before")
            session.execute(ADD.replace("bob", f"bob{number}"))
        first.commit()
        assert is_change_open(looking)
        second.rollback()
        assert not is_change_open(looking)


def test_a_table_that_a_subscription_writes_does_not_count(tmp_path: Path) -> None:
    """PostgreSQL calls no trigger of a statement for what it replicates."""
    with cluster(tmp_path, settings={"wal_level": "logical"}) as postgres:
        url, source = postgres.url(), postgres.url("template1")
        migrate(DatabaseSettings(database_url=url))
        with psycopg.connect(source, autocommit=True) as publisher, psycopg.connect(url, autocommit=True) as ours:
            publisher.execute("create domain identifier as text; create domain realm as text")
            publisher.execute("create table account (id identifier primary key, name text, realm realm)")
            publisher.execute("create publication accounts for table account")
            publisher.execute("select pg_create_logical_replication_slot('accounts', 'pgoutput')")
            assert _state(url) is not None
            ours.execute(
                f"create subscription accounts connection '{source}' publication accounts with (create_slot = false)"
            )
            publisher.execute("insert into account values ('a', 'A', 'a.example.com')")
            wait_until(lambda: ours.execute("select from account").fetchone() is not None, 30, "the account")
            assert _state(url) is None
            ours.execute("drop subscription accounts")
