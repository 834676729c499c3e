"""What Kamailio's auth_db reads: every device that may log in and no other, whoever changes the directory."""

from __future__ import annotations

import re
from threading import Thread

import psycopg
import pytest

from tests.fixtures.directory import Directory
from tests.stand.process import wait_until

HA1 = {name: letter * 32 for name, letter in (("bob", "b"), ("alice", "a"), ("new", "f"))}
BOB = ("bob", "child.test", HA1["bob"])
ALICE = ("alice", "reseller.test", HA1["alice"])
DEVICES = f"""
update device set ha1 = null;
update device set sip_username = 'bob', ha1 = '{HA1["bob"]}' where id = 'device-bob';
update device set sip_username = 'alice', ha1 = '{HA1["alice"]}' where id = 'device-alice';
"""
CHANGES = {
    "update device set enabled = false where id = 'device-bob'": [ALICE],
    "update device set ha1 = null where id = 'device-bob'": [ALICE],
    f"update device set ha1 = '{HA1['new']}' where id = 'device-bob'": [ALICE, ("bob", "child.test", HA1["new"])],
    "update device set sip_username = 'Robert' where id = 'device-bob'": [ALICE, ("Robert", "child.test", HA1["bob"])],
    "update device set sip_realm = 'own.test' where id = 'device-bob'": [ALICE, ("bob", "own.test", HA1["bob"])],
    "update device set id = 'other' where id = 'device-bob'": [ALICE, BOB],
    "update device set id = 'other' where id = 'device-bob'; delete from device where id = 'other'": [ALICE],
    "update device set owner_id = null, account_id = 'sibling' where id = 'device-bob'": [
        ALICE,
        ("bob", "sibling.test", HA1["bob"]),
    ],
    "delete from device where id = 'device-bob'": [ALICE],
    "truncate device cascade": [],
    "update account set realm = 'new.test' where id = 'child'": [ALICE, ("bob", "new.test", HA1["bob"])],
    "update account set enabled = false where id = 'child'": [ALICE],
    "update account set enabled = false; update account set enabled = true where id = 'child'": [BOB],
    "update account set enabled = false; update device set name = 'x'": [],
    f"insert into device (id, account_id, sip_username, ha1) values ('x', 'child', 'New', '{HA1['new']}')": [
        ALICE,
        BOB,
        ("New", "child.test", HA1["new"]),
    ],
    "insert into device (id, account_id, sip_username) values ('x', 'child', 'New')": [ALICE, BOB],
}


def ha1b(database: psycopg.Connection) -> dict[str, str]:
    """What auth_db would compare a digest username with "@" with."""
    return dict(database.execute("select username, ha1b from subscriber").fetchall())


def subscribers(database: psycopg.Connection) -> list[tuple[str, str, str]]:
    """What auth_db would find."""
    return database.execute("select username, domain, ha1 from subscriber order by lower(username)").fetchall()


@pytest.mark.parametrize(("change", "expected"), CHANGES.items())
def test_who_may_log_in_follows_every_change(
    directory: Directory, database: psycopg.Connection, change: str, expected: list[tuple[str, str, str]]
) -> None:
    """Enabled devices of enabled accounts that have a password, as they are called now."""
    database.execute(DEVICES)
    assert subscribers(database) == [ALICE, BOB]
    database.execute(change)
    assert subscribers(database) == expected


def test_a_device_that_comes_while_its_account_is_disabled_cannot_log_in(
    directory: Directory, database: psycopg.Connection, database_url: str
) -> None:
    """Neither of two transactions at a time sees what the other writes; the later one waits for the other."""
    database.execute(DEVICES)

    def add() -> None:
        with psycopg.connect(database_url, application_name="add", autocommit=True) as other:
            other.execute(
                "insert into device (id, account_id, sip_username, ha1) values ('x', 'child', 'new', %s)", (HA1["new"],)
            )

    adding = Thread(target=add)
    waits = "select count(*) from pg_stat_activity where application_name = 'add' and wait_event_type = 'Lock'"
    with database.transaction():
        database.execute("update account set enabled = false where id = 'child'")
        adding.start()
        with psycopg.connect(database_url, autocommit=True) as third:
            wait_until(lambda: third.execute(waits).fetchone() == (1,), 10, "the other one to wait")
    adding.join()
    assert database.execute("select count(*) from device where id = 'x'").fetchone() == (1,)
    assert subscribers(database) == [ALICE]


def test_what_kamailio_reads_has_the_types_of_its_own_schema(database: psycopg.Connection, kamdbctl_url: str) -> None:
    """db_postgres hands a column of type text to modules as a blob, and auth_db refuses that from 6.1 on."""
    kinds = "select column_name, data_type from information_schema.columns where table_name = %s"
    with psycopg.connect(kamdbctl_url) as stock:
        for table, own in (
            ("subscriber", {"device_id"}),
            ("location_attrs", {"id", "last_modified"}),  # bigint on a fresh database
            ("version", set()),
        ):
            ours: dict[str, str] = dict(database.execute(kinds, (table,)).fetchall())
            theirs: dict[str, str] = dict(stock.execute(kinds, (table,)).fetchall())
            shared = ours.keys() - own
            assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_nobody_can_know_ha1b(directory: Directory, database: psycopg.Connection) -> None:
    """128 random bits in hex, others for each row, and others again when the row is written anew."""
    database.execute(DEVICES)
    before = ha1b(database)
    database.execute("update device set name = 'x'")
    after = ha1b(database)
    database.execute("update account set enabled = false; update account set enabled = true")
    seen = [*before.values(), *after.values(), *ha1b(database).values()]
    assert before.keys() == after.keys() == {"bob", "alice"}
    assert len(set(seen)) == len(seen) == 6
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in seen)
