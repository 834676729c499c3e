"""Statements that must not read more when the tables grow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sql.statements import statement
from sql.worker.enrichment import SLICE_ROWS, enrich_pending, reconcile
from tests.stand.postgres import Cluster

DEVICES = """
insert into account (id, name, realm) values ('a', 'A', 'a.example.com');
insert into account (id, name, realm) select 'other-' || n, 'O', n || '.example.com' from generate_series(1, 3000) n;
insert into owner (id, account_id) values ('o', 'a');
insert into device (id, account_id, sip_username, ha1)
    select n, 'a', 'User' || n, md5(n::text) from generate_series(1, 3000) n;
analyze account, device;
"""
ROWS = """
insert into location (ruid, username, domain, contact, expires)
    select 'r' || n, 'user' || n, 'a.example.com', 'sip:' || n, 4000000000 from generate_series(1, {count}) n;
analyze location;
"""


@pytest.fixture(params=["bigint", "integer"])
def database(
    request: pytest.FixtureRequest, database: psycopg.Connection, postgres: Cluster
) -> Iterator[psycopg.Connection]:
    """Ids of location are integer in a table of kamdbctl's, and statements compare them with bigint."""
    if request.param == "bigint":
        yield database
        return
    name = f"integer_{uuid4().hex}"
    database.execute(f"create database {name}".encode())
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        text = (files("sql.schema") / "migrations" / "0001-location.sql").read_text(encoding="utf-8")
        made = re.search(r"^create table if not exists location \(.*?^\);", text, re.MULTILINE | re.DOTALL)
        assert made is not None
        connection.execute(made[0].replace("id bigserial", "id serial").encode())
        migrate(DatabaseSettings(database_url=postgres.url(name)))
        yield connection
    database.execute(f"drop database {name} with (force)".encode())


def rows_read(plan: dict[str, Any], *, relation: str | None = None) -> int:
    """Rows that the scans of a plan looked at, all of them or those of one table."""
    looked = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0) + plan["Actual Rows"]
    table = plan.get("Relation Name")
    own = looked * plan["Actual Loops"] if table and relation in {None, table} else 0
    return int(own) + sum(rows_read(child, relation=relation) for child in plan.get("Plans", []))


def explained(database: psycopg.Connection, query: str) -> dict[str, Any]:
    """The plan of a statement that was executed."""
    row = database.execute(f"explain (analyze, format json, costs off, timing off) {query}").fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def test_the_password_of_a_phone_is_found_without_reading_other_devices(database: psycopg.Connection) -> None:
    """A REGISTER costs the same however many devices its realm and the directory have."""
    database.execute(DEVICES)
    plan = explained(database, "select ha1 from subscriber where username='User17' AND domain='a.example.com'")
    assert rows_read(plan) == 1


def test_a_batch_of_new_rows_is_enriched_without_reading_the_others(database: psycopg.Connection) -> None:
    """Neither does the planner think so after some runs, when it makes a plan for any limit."""
    database.execute(DEVICES + ROWS.format(count=20000))
    enrich = statement("enrich_pending").replace("%(after)s", "$1").replace("%(limit)s", "$2")
    database.execute("set plan_cache_mode = force_generic_plan")
    database.execute(f"prepare enrich (bigint, integer) as {enrich}")
    plan = explained(database, "execute enrich (0, 10)")
    # Each row is looked at as pending, when its lock is taken, in the view, and when it is written.
    assert rows_read(plan, relation="location") <= 4 * 10
    # Of the device, of its password, and of the realm.
    assert rows_read(plan, relation="account") <= 3 * 10


def test_rows_are_set_right_without_reading_the_others(database: psycopg.Connection) -> None:
    """Of a batch that the comparison has found, only the rows themselves are read."""
    database.execute(DEVICES + ROWS.format(count=20000))
    plan = explained(database, statement("reconcile_write").replace("%(ids)s", "array[5, 6, 7]").replace("%%", "%"))
    assert rows_read(plan, relation="location") <= 4 * 3


def test_rows_of_every_part_of_the_table_are_compared(database: psycopg.Connection) -> None:
    """All rows are compared with the directory, however many slices they make, with holes between their ids."""
    count = 2 * SLICE_ROWS + 10
    database.execute(DEVICES + ROWS.format(count=count))
    database.execute("update location set enriched_at = now() where username <> 'user7'")
    database.execute("delete from location where id % 3 = 0")
    assert reconcile(database, batch=1000).written == count - count // 3 - 1
    assert reconcile(database, batch=1000).written == 0
    database.execute("update device set owner_id = 'o' where id in ('1', '2000')")
    assert reconcile(database).written == 2


PAGE = (
    statement("registrations_page")
    .format(values="presence_id, from_user, network_ip, registrar_node, contact_ip", conditions="")
    .replace("%(account_id)s", "$1")
    .replace("%(lowest)s", "$2")
    .replace("%(highest)s", "$3")
)


@pytest.mark.parametrize("enriched", [True, False])
def test_a_page_is_read_without_reading_other_rows(database: psycopg.Connection, enriched: bool) -> None:
    """Whether the worker has been there or not; the plan is one for any account and page."""
    database.execute(DEVICES + ROWS.format(count=20000))
    if enriched:
        database.execute("update location set enriched_at = now(), account_id = 'a', device_id = substr(username, 5)")
        database.execute("vacuum analyze location")
    database.execute("set plan_cache_mode = force_generic_plan")
    database.execute(f"prepare page (text, bigint, bigint) as {PAGE}")
    plan = explained(database, "execute page ('a', 101, 110)")
    assert plan["Actual Rows"] == 10
    assert rows_read(plan, relation="location") == 10


def test_unusual_devices_cost_a_page_no_more_when_there_are_many(database: psycopg.Connection) -> None:
    """A plan that was made when there was none goes on to look each up, and does not read them all."""
    database.execute(DEVICES + ROWS.format(count=200))
    database.execute("update location set enriched_at = now(), account_id = 'a', device_id = substr(username, 5)")
    database.execute("set plan_cache_mode = force_generic_plan")
    database.execute(f"prepare page (text, bigint, bigint) as {PAGE}")
    database.execute("execute page ('a', 101, 110)")
    database.execute("update device set presence_id = 'p' || id")
    plan = explained(database, "execute page ('a', 101, 110)")
    assert plan["Actual Rows"] == 10
    assert 10 <= rows_read(plan, relation="device") <= 2 * 10


def test_sources_of_all_phones_cost_a_page_those_of_its_rows(database: psycopg.Connection) -> None:
    """A plan that was made when there was none goes on to look each up; without any, the table is not asked a row."""
    database.execute(DEVICES + ROWS.format(count=20000))
    database.execute("update location set enriched_at = now(), account_id = 'a', device_id = substr(username, 5)")
    database.execute("set plan_cache_mode = force_generic_plan")
    database.execute(f"prepare page (text, bigint, bigint) as {PAGE}")
    plan = explained(database, "execute page ('a', 101, 110)")
    assert rows_read(plan, relation="registration_source") == 0
    database.execute("insert into registration_source (ruid, received) select ruid, 'sip:192.0.2.1' from location")
    for _ in range(2):
        plan = explained(database, "execute page ('a', 101, 110)")
        assert plan["Actual Rows"] == 10
        assert 10 <= rows_read(plan, relation="registration_source") <= 2 * 10
        database.execute("analyze registration_source")
    database.execute("update location set received = 'sip:192.0.2.2:5060'")
    plan = explained(database, "execute page ('a', 101, 110)")
    assert rows_read(plan, relation="registration_source") == 0
    database.execute("update registration_source set from_user = 'assistant' where ruid = 'r1'")
    plan = explained(database, "execute page ('a', 101, 110)")
    assert 10 <= rows_read(plan, relation="registration_source") <= 2 * 10


def test_a_new_owner_of_every_row_makes_the_table_no_larger(database: psycopg.Connection) -> None:
    """What all rows are set to finds room in their pages: no index is written, and nothing is left to be vacuumed."""
    database.execute(DEVICES + ROWS.format(count=3000))
    while enrich_pending(database, limit=1000):
        pass
    database.execute("vacuum full location")
    database.execute("update device set owner_id = 'o'")
    size = "select pg_total_relation_size('location')"
    before = database.execute(size).fetchone()
    assert reconcile(database).written == 3000
    assert database.execute(size).fetchone() == before
