"""What migration 0027 leaves as it is: a directory of the operator's own, and collations that the views cannot have."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from sql.connections.database import connect
from sql.errors import SchemaRefused
from sql.schema.migrate import _Backend, _migrations, any_migrations, migrate, plan
from sql.settings import DatabaseSettings

COLUMNS = """
    a.realm::text as realm, '{id}' as device_id, '' as device_name, a.id::text as account_id, a.name as account_name,
    a.realm::text as account_realm, null::text as owner_id, null::text as owner_name, a.enabled,
    null::text as presence_id, true as suppress_unregister_notify, false as register_overwrite_notify
"""
OWN_TABLE = f"""
create table phone (name text);
create or replace view directory with (security_barrier) as
select lower(p.name) as username, {COLUMNS.format(id="own")} from phone p cross join account a
"""
OUR_TABLE = f"""
create or replace view directory with (security_barrier) as
select lower(d.sip_username) as username, {COLUMNS.format(id="ours")}
from device d join account a on a.id = d.account_id where lower(d.name) <> 'spare'
"""


@pytest.fixture
def before(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A database of kamdbctl as the release before 0027 left it."""
    with connect(DatabaseSettings(database_url=kamdbctl_url), application_name="test") as connection:
        backend = _Backend(connection)
        backend.create_lock_table()
        for migration in [each for each in backend.to_apply(_migrations()) if each.id < "0027"]:
            backend.apply_one(migration)
    with psycopg.connect(kamdbctl_url, autocommit=True) as operator:
        yield operator


def definition(connection: psycopg.Connection) -> tuple[str, list[str] | None]:
    """The view directory, and its options."""
    row = connection.execute(
        "select pg_get_viewdef(oid), reloptions from pg_class where oid = 'directory'::regclass"
    ).fetchone()
    assert row is not None
    return row


def test_a_directory_on_tables_of_the_operators_stays_as_it_is(before: psycopg.Connection, kamdbctl_url: str) -> None:
    """It has an index by which it finds names; to change that is the operator's."""
    before.execute(OWN_TABLE)
    was = definition(before)
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    assert definition(before) == was


def test_a_directory_on_our_tables_asks_as_their_index_has_it(before: psycopg.Connection, kamdbctl_url: str) -> None:
    """The rest of it stays, and so do its options."""
    before.execute(OUR_TABLE)
    text, options = definition(before)
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    assert definition(before) == (text.replace("lower(d.sip_username)", "sip_lower(d.sip_username)"), options)
    assert "lower(d.name)" in text


def test_a_copy_of_the_readmes_example_goes_with_it(before: psycopg.Connection, kamdbctl_url: str) -> None:
    """With it the new index of subscriber is used."""
    before.execute(
        "do $$ begin execute 'create or replace view directory as ' "
        "|| pg_get_viewdef('directory_of_subscriber'::regclass); end $$"
    )
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    row = before.execute("select pg_get_viewdef('directory_of_subscriber'::regclass)").fetchone()
    assert row == definition(before)[:1]
    assert "sip_lower(" in row[0]


def test_names_are_put_in_lower_case_as_usrloc_does_it(database: psycopg.Connection) -> None:
    """Its strlower knows ASCII alone, whatever the collation of a column."""
    names = ["ANNA-Z@[`", "Ärger", "\u0130\u0131\u1e9e\u00df", "", None]
    given = "select sip_lower(n collate {}) from unnest(%s::text[]) n"
    for collation in ('"C"', '"default"', '"POSIX"'):
        rows = database.execute(given.format(collation).encode(), (names,)).fetchall()
        assert [row[0] for row in rows] == ["anna-z@[`", "Ärger", "\u0130\u0131\u1e9e\u00df", "", None]


@pytest.mark.parametrize("table", ["location", "subscriber"])
def test_a_collation_that_the_views_cannot_have_is_refused_beforehand(kamdbctl_url: str, table: str) -> None:
    """By the dry run, too. Once the operator has altered it as he is told, migrate works."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with psycopg.connect(kamdbctl_url, autocommit=True) as operator:
        try:
            operator.execute(
                "create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        except errors.FeatureNotSupported:
            pytest.skip("this PostgreSQL has no ICU")
        alter = 'alter table {} alter username type varchar(64) collate "{}"'
        operator.execute(alter.format(table, "nocase").encode())
        for command in (migrate, plan):
            with pytest.raises(SchemaRefused, match=rf"{table}\.username"):
                command(settings)
        with connect(settings, application_name="test") as connection:
            assert not any_migrations(connection)
        operator.execute(alter.format(table, "default").encode())
    migrate(settings)
