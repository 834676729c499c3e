"""`registrations-db alter`: a later schema of Kamailio's, beside views of ours and of the operator's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from sql.check.database import check_database, find_facts
from sql.connections.database import connect
from sql.console.finding import Severity
from sql.schema.migrate import migrate, plan
from sql.settings import DatabaseSettings
from tests.sql.kamailio_tables.test_widening import OWN_VIEWS
from tests.sql.registrations import location_samples
from tests.stand.postgres import bin_directory

COMMAND = Path(sys.executable).parent / "registrations-db"
ROWS = "select * from registrations order by id"
VIEWS = """
create view everything as select * from location;
create view attributes as select * from location_attrs;
create view users as select * from subscriber;
"""


@pytest.fixture
def kamailios(kamdbctl_url: str) -> list[tuple[str, str, str]]:
    """Table, name and type of each column before anything of ours is there."""
    query = """
        select table_name, column_name, data_type from information_schema.columns
        where table_schema = 'public' and table_name in ('location', 'location_attrs', 'subscriber')
    """
    with psycopg.connect(kamdbctl_url) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def adopted(kamdbctl_url: str, kamailios: list[tuple[str, str, str]]) -> Iterator[psycopg.Connection]:
    """A database of kamdbctl with rows, migrated, with views of an operator's on every column."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True, prepare_threshold=None) as connection:
        location_samples.load(connection, midnight=location_samples.DAY)
        connection.execute(OWN_VIEWS.encode())
        connection.execute('drop index location_odd_idx; alter table location drop column "my-id"')
        yield connection


def _alter(url: str, commands: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [COMMAND, "alter", commands, *arguments]
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _schema(url: str) -> Counter[str]:
    command: list[str | Path] = [bin_directory() / "pg_dump", "--schema-only", url]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return Counter(
        line.rstrip(",") for line in dumped.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def _found(url: str) -> dict[str, Severity]:
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        found = list(check_database(connection, facts=find_facts(connection)))
    return {each.id: each.severity for each in found if each.severity is not Severity.OK}


def _first_words(lines: Iterable[str]) -> set[str]:
    """What lines of pg_dump are about; without comments."""
    words = [line.split() for line in lines if not line.startswith("--")]
    return {" ".join(each[:3]) if each[0].isupper() else each[0] for each in words}


WIDER = {
    "character varying": "varchar(700)",
    "integer": "bigint",
    "real": "double precision",
    "timestamp without time zone": "timestamp with time zone using {} at time zone 'UTC'",
}


def test_every_column_of_kamailios_can_have_another_type(
    adopted: psycopg.Connection, kamdbctl_url: str, kamailios: list[tuple[str, str, str]]
) -> None:
    """But cseq, which has 31 bits by RFC 3261, 8.1.1.5: it is refused with the view's name. Lists stay as they were."""
    adopted.execute(VIEWS)
    rows = adopted.execute(ROWS).fetchall()
    refused = {}
    for table, column, old in kamailios:
        command = f"alter table {table} alter column {column} type {WIDER[old].format(column)}"
        done = _alter(kamdbctl_url, command, "--table", table)
        if done.returncode:
            refused[column] = done.stderr
    assert list(refused) == ["cseq"]
    assert refused["cseq"].startswith("Error: view live_location could not be made again, so nothing was changed: ")
    assert adopted.execute(ROWS).fetchall() == rows


# As Kamailio publishes them with a release: columns come, go and change, an index does, and the version is raised.
UPGRADE = """
alter table location add column pushed integer default 0 not null;
alter table location add column hint varchar(64);
alter table location drop column keepalive;
alter table location alter column contact type varchar(1024), alter column cflags type bigint;
alter table location alter column q set default 0.5;
drop index location_tcpcon_idx;
create index location_pushed_idx on location (pushed);
update version set table_version = 10 where table_name = 'location';
"""


def test_a_later_schema_of_kamailios(adopted: psycopg.Connection, kamdbctl_url: str) -> None:
    """All of it or nothing; API, worker and migrate go on, and check says that the version is a later one."""
    rows = adopted.execute(ROWS).fetchall()
    before = _schema(kamdbctl_url)
    done = _alter(kamdbctl_url, UPGRADE)
    assert (done.returncode, done.stdout) == (0, "done; the views on location are as they were\n"), done.stderr
    after = _schema(kamdbctl_url)
    assert _first_words(before - after) == {
        "keepalive",
        "contact",
        "cflags",
        "q",
        "CREATE INDEX location_tcpcon_idx",
    }
    assert _first_words(after - before) == {
        "pushed",
        "hint",
        "contact",
        "cflags",
        "q",
        "CREATE INDEX location_pushed_idx",
    }
    assert adopted.execute(ROWS).fetchall() == rows
    assert _found(kamdbctl_url)["location_version"] is Severity.WARNING
    settings = DatabaseSettings(database_url=kamdbctl_url)
    said: list[str] = []
    assert migrate(settings, report=said.append) == []
    assert plan(settings, report=said.append) == []
    assert [line.partition(";")[0] for line in said if "version" in line] == [
        "usrloc's table location is of version 10"
    ] * 2


REFUSED = {
    "a column that we need": ("alter table location drop column contact", "view location_directory"),
    "a column that the operator's view needs": ("alter table location drop column flags", "view my_flags"),
    "another name": ("alter table location rename to places", 'relation "location" does not exist'),
    "a commit": ("alter table location add column x integer; commit", "EXECUTE of transaction commands"),
    "what runs alone": ("create index concurrently x on location (q)", "cannot run inside a transaction block"),
    "an error": ("alter table location add column x integer; alter table location add y nonsense", "nonsense"),
    "a materialized view on the column": (
        "create materialized view copy as select contact from location; "
        "alter table location alter column contact type varchar(800)",
        "materialized view copy",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_named_and_nothing_is_changed(
    adopted: psycopg.Connection, kamdbctl_url: str, case: str
) -> None:
    """One line, and every view is there."""
    commands, named = REFUSED[case]
    adopted.execute("create view my_flags as select flags from location")
    schema = _schema(kamdbctl_url)
    refused = _alter(kamdbctl_url, commands)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ")
    assert len(refused.stderr.splitlines()) == 1
    assert named in refused.stderr
    assert _schema(kamdbctl_url) == schema


@pytest.mark.parametrize("column", ["user_agent varchar(255)", "callid varchar(255)"])
def test_a_collation_with_which_lists_would_fail_is_refused(
    adopted: psycopg.Connection, kamdbctl_url: str, column: str
) -> None:
    """The views can be made with it, and read no longer."""
    try:
        adopted.execute("create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL has no ICU")
    name, kind = column.split()
    refused = _alter(kamdbctl_url, f"alter table location alter {name} type {kind} collate nocase")
    assert refused.returncode == 1
    assert f"location.{name}" in refused.stderr
    assert "nothing was changed" in refused.stderr
    adopted.execute(ROWS.encode())


def test_a_materialized_view_on_ours_is_in_the_way(adopted: psycopg.Connection, kamdbctl_url: str) -> None:
    """It could not be put back without reading all rows."""
    adopted.execute("create materialized view copy as select * from registrations")
    refused = _alter(kamdbctl_url, "alter table location alter column contact type varchar(800)")
    assert refused.stderr.startswith(
        "Error: in the way, since it could not be put back as it is: materialized view copy;"
    )
