"""`registrations-db uninstall` beside what an operator made of ours: it refuses before anything is changed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from sql.errors import SchemaRefused
from sql.schema.migrate import migrate
from sql.schema.uninstall import describe, uninstall
from sql.settings import DatabaseSettings
from tests.fixtures.postgres import table_digests
from tests.stand.postgres import Cluster, bin_directory

# What an operator may have made of ours, and what the refusal names.
IN_THE_WAY = {
    "view of ours": ("create view my_report as select username from registrations", "my_report"),
    "view of location": ("create view my_loc as select * from location", "my_loc"),
    "materialized view": (
        "create materialized view my_m as select account_id, count(*) from registrations group by 1",
        "my_m",
    ),
    "both": (
        "create view my_loc as select * from location; create view my_report as select 1 from device",
        "my_loc.*my_report|my_report.*my_loc",
    ),
    "view of the record": ("create view my_record as select * from registrations_migration", "my_record"),
    "view of auth": ("create view my_auth as select ha1 from directory_subscriber", "my_auth"),
    "foreign key": ("create table mine (device text references device (id))", "mine_device_fkey"),
    "function of our types": (
        "create function mine(registrations) returns text language sql as 'select null::text'",
        "mine",
    ),
    "function of two": (
        "create function mine(account, device) returns text language sql as 'select null::text'",
        "mine",
    ),
    "function with our body": (
        "create function mine() returns text language sql begin atomic select kamailio_timezone(); end",
        "mine",
    ),
    "column of our type": ("create table mine (of realm)", "mine"),
    "column's default": ("create table mine (zone text default kamailio_timezone())", "mine"),
    "constraint by our function": ("create table mine (a text, check (unfolded(a) = a))", "mine"),
    "index by our function": ("create index my_index on subscriber (unfolded(username))", "my_index"),
    "table that inherits": ("create table my_child () inherits (device)", "my_child"),
    "trigger on ours": (
        "create trigger my_trigger before update on device for each row "
        "execute function suppress_redundant_updates_trigger()",
        "my_trigger",
    ),
    "trigger on our column": (
        "create trigger my_trigger before update of account_id on location for each row "
        "execute function suppress_redundant_updates_trigger()",
        "my_trigger",
    ),
    "trigger that reads our column": (
        "create function mine() returns trigger language plpgsql as "
        "$$ begin new.q = coalesce(length(new.account_id), 1); return new; end $$; "
        "create trigger my_trigger before insert on location for each row execute function mine()",
        "phones could not register any more",
    ),
    "rule on ours": ("create rule my_rule as on delete to owner do instead nothing", "my_rule"),
    "rule with our column": (
        "create rule my_rule as on update to location where old.account_id = 'x' do also nothing",
        "my_rule",
    ),
    "policy on ours": ("create policy my_policy on account using (true)", "my_policy"),
    "policy with our column": ("create policy my_policy on location using (account_id is null)", "my_policy"),
    "policy with our table": (
        "create table mine (a text); create policy my_policy on mine using (exists (select from account))",
        "my_policy",
    ),
    "publication": ("create publication my_pub for table device, version", "my_pub"),
    "index on our column": ("create index my_index on location (owner_id)", "my_index"),
    "constraint on our column": ("alter table location add constraint my_check check (owner_id <> 'x')", "my_check"),
    "statistics on our column": ("create statistics my_stat on owner_id, device_id from location", "my_stat"),
    "event trigger": (
        "create function mine() returns event_trigger language plpgsql as $$ "
        "begin raise 'no drops by my_rule'; end $$; "
        "create event trigger my_trigger on sql_drop execute function mine()",
        "no drops by my_rule",
    ),
}


@pytest.fixture(scope="module")
def adopted(postgres: Cluster, kamdbctl_template: str) -> Iterator[str]:
    """A migrated database of kamdbctl, to copy."""
    name = f"adopted_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name} template {kamdbctl_template}".encode())
        migrate(DatabaseSettings(database_url=postgres.url(name)))
        with psycopg.connect(postgres.url(name)) as connection:
            connection.execute("insert into account (id, name, realm) values ('a', 'A', 'a.example.net')")
        yield name
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def adopted_url(postgres: Cluster, adopted: str) -> Iterator[str]:
    """A copy that no other test sees."""
    name = f"copy_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name} template {adopted}".encode())
        yield postgres.url(name)
        admin.execute(f"drop database {name} with (force)".encode())


def _state(url: str) -> tuple[str, dict[str, str]]:
    """All that pg_dump knows of the schema, without what is random in it, and a digest of each table's rows."""
    dumped = subprocess.run(
        [bin_directory() / "pg_dump", "--schema-only", url], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    with psycopg.connect(url) as connection:
        return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE), table_digests(connection)


@pytest.mark.parametrize("made", IN_THE_WAY)
def test_whatever_is_in_the_way_is_met_before_anything_is_changed(adopted_url: str, made: str) -> None:
    """Each kind of thing that PostgreSQL lets somebody make of ours, or that would be lost with it."""
    command, named = IN_THE_WAY[made]
    with psycopg.connect(adopted_url, autocommit=True) as connection:
        connection.execute(command.encode())
    before = _state(adopted_url)
    told = "\n".join(describe(DatabaseSettings(database_url=adopted_url)))
    assert re.search(f"in the way, so --yes would refuse: .*(?:{named})", told)
    with pytest.raises(SchemaRefused, match=named):
        uninstall(DatabaseSettings(database_url=adopted_url))
    assert _state(adopted_url) == before
