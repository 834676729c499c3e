"""Names in lower case whatever the locale, and collations of Kamailio's columns that the views cannot have."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from sql.connections.database import connect
from sql.errors import SchemaRefused
from sql.schema.migrate import migrate, plan
from sql.schema.record import applied_migrations
from sql.settings import DatabaseSettings


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
            assert not applied_migrations(connection)
        operator.execute(alter.format(table, "default").encode())
    migrate(settings)
