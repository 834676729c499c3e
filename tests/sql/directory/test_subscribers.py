"""Kamailio's own subscribers as the directory: what the view has, what it costs, and how long it is in force."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sql.check.database import find_summary
from sql.connections.database import connect
from sql.directory.importing import import_directory
from sql.directory.subscribers import follow_domains
from sql.errors import DirectoryRefused
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sql.statements import statement
from tests.sql.registrations.test_plans import explained, rows_read
from tests.stand.process import wait_until

README = Path(__file__).parents[3] / "sql" / "README.md"


@pytest.fixture
def stock(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A migrated database of kamdbctl."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        yield connection


def subscribe(connection: psycopg.Connection, *aors: str) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into subscriber (username, domain) values (%s, %s)", [aor.split("@") for aor in aors]
        )


def accounts(connection: psycopg.Connection) -> list[tuple[str, str, bool]]:
    return connection.execute("select id, realm, automatic from account order by id").fetchall()


def load(url: str, directory: Path, *, replace: bool = False, **files: str) -> None:
    """Import CSV files, each given by its kind."""
    for name, text in files.items():
        (directory / f"{name}.csv").write_text(text)
    with connect(DatabaseSettings(database_url=url), application_name="test import") as connection:
        import_directory(connection, [str(directory / f"{name}.csv") for name in files], replace=replace, report=print)


def test_users_who_differ_in_case_alone_are_one_device(stock: psycopg.Connection) -> None:
    """usrloc keeps AoRs in lower case: with two devices a binding would show twice."""
    subscribe(stock, "Alice@Example.com", "alice@example.com", "ALICE@EXAMPLE.COM")
    assert follow_domains(stock) == 1
    assert stock.execute("select username, realm, device_id, account_id, enabled from directory").fetchall() == [
        ("alice", "example.com", "alice", "example.com", True)
    ]


def test_the_summary_counts_subscribers_while_they_are_the_devices(
    kamdbctl_url: str, stock: psycopg.Connection, tmp_path: Path
) -> None:
    """`registrations-db check` said that there were none."""
    subscribe(stock, "alice@one.test", "bob@one.test")
    assert find_summary(stock)["devices"] == "2"
    load(kamdbctl_url, tmp_path, accounts="id,name,realm\none,One,one.test\n")
    assert find_summary(stock)["devices"] == "0"


def test_each_domain_that_can_be_a_realm_gets_its_account_once(stock: psycopg.Connection) -> None:
    """Of subscribers, of phones and of the setting; what is there or cannot be one is passed by."""
    subscribe(stock, "a@one.test", "b@Two.test", "c@", "d@has space", "e@with/slash", "f@umläut.test", "g@three.test")
    stock.execute("insert into account (id, name, realm) values ('own', 'Own', 'three.test')")
    stock.execute("insert into location (ruid, username, domain) values ('r1', 'a', 'Four.test'), ('r2', 'b', null)")
    assert follow_domains(stock) == 3
    assert follow_domains(stock) == 0
    assert accounts(stock) == [
        ("four.test", "four.test", True),
        ("one.test", "one.test", True),
        ("own", "three.test", False),
        ("two.test", "two.test", True),
    ]


def test_who_makes_up_domains_makes_no_more_than_ten_thousand_accounts(stock: psycopg.Connection) -> None:
    """Without authentication a phone names its domain itself; subscribers' domains are taken all the same."""
    stock.execute(
        "insert into location (ruid, username, domain) "
        "select 'r' || n, 'u', n || '.test' from generate_series(1, 12000) n"
    )
    subscribe(stock, "a@ours.test")
    assert follow_domains(stock) == 10001
    stock.execute("insert into location (ruid, username, domain) values ('late', 'u', 'late.test')")
    subscribe(stock, "a@too.test")
    assert follow_domains(stock) == 1


def test_domains_of_phones_are_found_without_reading_the_others(stock: psycopg.Connection) -> None:
    """The worker looks for them at each comparison, whatever else registers."""
    subscribe(stock, "a@one.test")
    stock.execute(
        "insert into location (ruid, username, domain, contact, account_id, enriched_at) "
        "select 'r' || n, 'u' || n, 'one.test', 'sip:' || n, 'one.test', now() from generate_series(1, 20000) n"
    )
    stock.execute(
        "insert into location (ruid, username, domain, enriched_at) "
        "values ('new', 'a', 'new.test', null), ('seen', 'b', 'seen.test', now())"
    )
    stock.execute("vacuum analyze location")
    with stock.transaction():
        assert follow_domains(stock) == 3
        read = "select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables where relname = 'location'"
        assert stock.execute(read).fetchone() == (0, 2)
    assert {each for each, *_ in accounts(stock)} == {"one.test", "new.test", "seen.test"}


def test_an_own_directory_is_left_alone(database: psycopg.Connection, kamdbctl_url: str) -> None:
    """On an empty database, and where the operator has replaced the view, no account is made."""
    database.execute("insert into location (ruid, username, domain) values ('r', 'a', 'one.test')")
    assert follow_domains(database) == 0
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as stock:
        stock.execute("create or replace view directory as select * from directory_of_devices where enabled")
        subscribe(stock, "a@one.test")
        assert follow_domains(stock) == 0
        assert accounts(stock) == []


def test_the_readmes_example_is_the_view_that_is_there(stock: psycopg.Connection) -> None:
    """Whoever copies it gets what migrate makes, and may change it from there."""
    text = README.read_text(encoding="utf-8")
    (example,) = re.findall(r"```sql\n(create or replace view directory as\n.*?)```", text, re.DOTALL)
    stock.execute(example)
    row = stock.execute(
        "select pg_get_viewdef('directory'::regclass) = pg_get_viewdef('directory_of_subscriber'::regclass)"
    ).fetchone()
    assert row == (True,)


def test_new_rows_are_enriched_by_the_index_of_subscribers(stock: psycopg.Connection) -> None:
    """A batch of ten looks at ten subscribers, however many there are."""
    stock.execute(
        "insert into subscriber (username, domain) "
        "select 'User' || n, n % 7 || '.test' from generate_series(1, 20000) n"
    )
    stock.execute(
        "insert into location (ruid, username, domain, contact) "
        "select 'r' || n, 'user' || n, n % 7 || '.test', 'sip:' || n from generate_series(1, 20000) n"
    )
    stock.execute("analyze subscriber, location")
    follow_domains(stock)
    enrich = statement("enrich_pending").replace("%(after)s", "0").replace("%(limit)s", "10")
    # Each is found, and looked for once more among those that differ in case alone.
    assert rows_read(explained(stock, enrich), relation="subscriber") <= 2 * 10
    stock.execute("update location set enriched_at = now()")
    stock.execute("vacuum analyze location")
    assert rows_read(explained(stock, enrich), relation="subscriber") == 0


def test_an_import_without_accounts_gives_devices_to_those_that_were_made(
    kamdbctl_url: str, stock: psycopg.Connection, tmp_path: Path
) -> None:
    """They are accounts like any other from then on, and the directory is that of the import."""
    subscribe(stock, "alice@one.test", "bob@one.test")
    follow_domains(stock)
    load(kamdbctl_url, tmp_path, devices="id,account_id,sip_username\ndesk,one.test,alice\n")
    assert accounts(stock) == [("one.test", "one.test", False)]
    assert stock.execute("select username, device_id from directory").fetchall() == [("alice", "desk")]


def test_an_import_that_is_refused_leaves_subscribers_the_directory(
    kamdbctl_url: str, stock: psycopg.Connection, tmp_path: Path
) -> None:
    """All or nothing goes for the change of directories, too."""
    subscribe(stock, "alice@one.test")
    follow_domains(stock)
    with pytest.raises(DirectoryRefused, match="there is no account"):
        load(
            kamdbctl_url,
            tmp_path,
            accounts="id,name,realm\nacme,Acme,one.test\n",
            devices="id,account_id,sip_username\ndesk,nowhere,alice\n",
        )
    assert accounts(stock) == [("one.test", "one.test", True)]
    assert stock.execute("select username, device_id from directory").fetchall() == [("alice", "alice")]


def test_accounts_of_domains_are_no_loss(kamdbctl_url: str, stock: psycopg.Connection, tmp_path: Path) -> None:
    """Nobody imported them, so the first import with --replace may take them all away."""
    subscribe(stock, *(f"alice@{number}.test" for number in range(20)))
    follow_domains(stock)
    load(
        kamdbctl_url,
        tmp_path,
        replace=True,
        accounts="id,name,realm\nacme,Acme,acme.test\n",
        owners="id,account_id,name\n",
        devices="id,account_id,sip_username\ndesk,acme,alice\n",
    )
    assert accounts(stock) == [("acme", "acme.test", False)]


def test_an_import_waits_for_who_reads_the_directory_and_keeps_nobody_else_from_it(
    kamdbctl_url: str, stock: psycopg.Connection, tmp_path: Path
) -> None:
    """The view changes hands in a gap between its readers; those who come meanwhile are not held up."""
    subscribe(stock, "alice@one.test")
    follow_domains(stock)
    importing = threading.Thread(
        target=load,
        args=(kamdbctl_url, tmp_path),
        kwargs={"devices": "id,account_id,sip_username\ndesk,one.test,alice\n"},
    )
    waits = "select 1 from pg_stat_activity where application_name = 'test import' and wait_event_type = 'Lock'"
    with psycopg.connect(kamdbctl_url) as reader:
        reader.execute("select from directory")
        importing.start()
        wait_until(lambda: stock.execute(waits).fetchone(), 10, "the import to want the view")
        stock.execute("set statement_timeout = '5s'")
        assert stock.execute("select device_id from directory").fetchall() == [("alice",)]
    importing.join(30)
    assert stock.execute("select device_id from directory").fetchall() == [("desk",)]
