"""What would stop `migrate` is told beforehand, all at once and with its remedy, and nothing is changed by then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from sql.errors import SchemaRefused
from sql.schema.migrate import migrate
from sql.schema.migration import all_migrations
from sql.schema.names import names_made_by
from sql.schema.own_objects import ROLES
from sql.schema.uninstall import describe, uninstall
from sql.settings import DatabaseSettings
from sql.statements import statement
from tests.fixtures.migrations import migrate_to, release_tomorrow
from tests.stand.postgres import Cluster, bin_directory, replica

COMMAND = Path(sys.executable).parent / "registrations-db"
MIGRATIONS = len(all_migrations())
TABLES = ("location", "location_attrs", "version", "subscriber")


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What an operator's database has, what is said of it, and what takes it away."""

    is_made_by: str
    said: tuple[str, ...]
    is_cured_by: str


def _taken(what: str, made: str, cure: str) -> Obstacle:
    said = f"{what}, of role postgres, has a name that is to be ours: rename it"
    return Obstacle(is_made_by=made, said=(said,), is_cured_by=cure)


def _other_kind(kind: str, made: str, cure: str) -> Obstacle:
    said = (f"location is {kind}: it must be an ordinary table", "make it one")
    return Obstacle(is_made_by=f"alter table location rename to stock; {made}", said=said, is_cured_by=cure)


def _archive(kind: str = "", when: str = "for each row ", also: str = "") -> Obstacle:
    return Obstacle(
        is_made_by=ARCHIVE.format(kind=kind, when=when) + also,
        said=("0001-location: with the new columns of location phones could not register", "function archive() line 2"),
        is_cured_by="drop trigger archive on location",
    )


BACK = "alter table stock rename to location"
FOREIGN = """
    create foreign data wrapper w; create server elsewhere foreign data wrapper w;
    create foreign table location (id integer, ruid varchar(64)) server elsewhere
"""
PARTITIONED = """
    create table location (like stock including defaults) partition by list (server_id);
    create table location_1 partition of location for values in (1)
"""
NO_DDL = """
    create function no_ddl() returns event_trigger language plpgsql as
        $$ begin raise exception 'no changes before Christmas' using hint = 'ask the DBA'; end $$;
    create event trigger frozen on {on} execute function no_ddl()
"""
ARCHIVE = """
    create table archive (like location);
    create function archive() returns trigger language plpgsql as $$
    begin insert into archive values (old.*); return old; end $$;
    create {kind}trigger archive after delete on location {when}execute function archive()
"""
OBSTACLES = {
    "table": _taken("table account", "create table account (x integer)", "alter table account rename to mine"),
    "view": _taken("view directory", "create view directory as select 1 as one", "alter view directory rename to mine"),
    "materialized view": _taken(
        "materialized view owner",
        "create materialized view owner as select 1 as one",
        "alter materialized view owner rename to mine",
    ),
    "sequence": _taken("sequence device", "create sequence device", "alter sequence device rename to mine"),
    "partitioned": _taken(
        "table flush",
        "create table flush (x integer) partition by list (x)",
        "create schema s; alter table flush set schema s",
    ),
    "index": _taken(
        "index location_account_id_idx",
        "create index location_account_id_idx on location (username)",
        "alter index location_account_id_idx rename to mine",
    ),
    "enum": _taken("type identifier", "create type identifier as enum ('a')", "alter type identifier rename to mine"),
    "composite type": _taken(
        "composite type leader", "create type leader as (x integer)", "alter type leader rename to mine"
    ),
    "type of a table's row": _taken(
        "table realm", "create table realm (x integer)", "alter table realm rename to mine"
    ),
    "type of a table's name": _taken(
        "type account", "create domain account as text", "alter domain account rename to mine"
    ),
    "function": _taken(
        "function token_access(bytea,text)",
        "create function token_access(bytea, text) returns integer language sql as 'select 1'",
        "drop function token_access",
    ),
    "overload": _taken(
        "function registration_epoch(text)",
        "create function registration_epoch(text) returns bigint language sql as 'select 1::bigint'",
        "alter function registration_epoch rename to mine",
    ),
    "column": _taken(
        "column account_id of table location",
        "alter table location add column account_id integer; create view shown as select account_id from location",
        "alter table location rename column account_id to mine",
    ),
    "where Kamailio has a subscriber": _taken(
        "table directory_subscriber",
        "create table directory_subscriber (x integer)",
        "drop table directory_subscriber",
    ),
    "location is partitioned": _other_kind("a partitioned table", PARTITIONED, f"drop table location; {BACK}"),
    "location is a view": _other_kind(
        "a view", "create view location as select * from stock", f"drop view location; {BACK}"
    ),
    "location is a materialized view": _other_kind(
        "a materialized view",
        "create materialized view location as select * from stock",
        f"drop materialized view location; {BACK}",
    ),
    "location is foreign": _other_kind("a foreign table", FOREIGN, f"drop foreign table location; {BACK}"),
    "location is a partition": Obstacle(
        is_made_by="create table everything (like location) partition by list (server_id); "
        "alter table everything attach partition location default",
        said=("location is a partition: detach it",),
        is_cured_by="alter table everything detach partition location",
    ),
    "location has children": Obstacle(
        is_made_by="create table of_node_1 () inherits (location)",
        said=("of_node_1 inherits from location", "`alter table of_node_1 no inherit location`"),
        is_cured_by="alter table of_node_1 no inherit location",
    ),
    "location is a child": Obstacle(
        is_made_by="create table everything (ruid varchar(64) not null); alter table location inherit everything",
        said=("`alter table location no inherit everything`",),
        is_cured_by="alter table location no inherit everything",
    ),
    "row level security": Obstacle(
        is_made_by="alter table location enable row level security",
        said=("row level security of location would hide its rows", "disable row level security"),
        is_cured_by="alter table location disable row level security",
    ),
    "a location that lacks a column": Obstacle(
        is_made_by="alter table location drop column received",
        said=('0002-location-indexes would fail: column "received" does not exist', "compare them with its schema"),
        is_cured_by="alter table location add column received varchar(128)",
    ),
    "a sequence of another name": Obstacle(
        is_made_by="alter sequence location_id_seq rename to location_seq",
        said=('0011-roles would fail: relation "location_id_seq" does not exist',),
        is_cured_by="alter sequence location_seq rename to location_id_seq",
    ),
    "an event trigger": Obstacle(
        is_made_by=NO_DDL.format(on="ddl_command_start when tag in ('CREATE FUNCTION')"),
        said=("0003-kamailio would fail: no changes before Christmas",),
        is_cured_by="alter event trigger frozen disable",
    ),
    "an event trigger on everything": Obstacle(
        is_made_by=NO_DDL.format(on="ddl_command_end"),
        said=("a copy of Kamailio's tables would fail: no changes before Christmas", "see event triggers"),
        is_cured_by="drop event trigger frozen",
    ),
    "a trigger that stores whole rows": _archive(),
    "one that is called at the commit": _archive("constraint ", "deferrable initially deferred for each row "),
    "one that leaves out rows without a name": _archive("", "for each row when (old.username <> '') "),
    "one beside a constraint that refuses such rows": _archive(
        also="; alter table location add constraint named check (username <> '' and domain <> '' and contact ~ '^sip:')"
    ),
    "one beside ids that only PostgreSQL gives": _archive(
        also="; alter table location alter id drop default; drop sequence location_id_seq; "
        "alter table location alter id add generated always as identity"
    ),
    "an index of the name of a constraint": _taken(
        "index account_realm_key",
        "create table account (realm text constraint account_realm_key unique); alter table account rename to mine",
        "alter index account_realm_key rename to mine_realm_key",
    ),
    "an event trigger that looks for its table": Obstacle(
        is_made_by="create table changes (tag text); create function note() returns event_trigger language plpgsql as "
        "$$ begin insert into changes values (tg_tag); end $$; "
        "create event trigger note on ddl_command_end execute function note()",
        said=('relation "changes" does not exist', "functions must name their tables with the schema"),
        is_cured_by="alter function note() set search_path = public",
    ),
    "several": Obstacle(
        is_made_by="create table account (x integer); create domain realm as text; alter table location add column "
        "owner_id text, enable row level security; create table of_node_1 () inherits (location)",
        said=(
            "5 things are in the way, nothing was changed:\n",
            "\n  - table account,",
            "\n  - type realm,",
            "\n  - column owner_id of table location,",
            "\n  - of_node_1 inherits from location",
            "\n  - row level security of location ",
        ),
        is_cured_by="drop table account, of_node_1; drop domain realm; alter table location drop column owner_id, "
        "disable row level security",
    ),
}


def _dump(url: str) -> str:
    """All that pg_dump knows, rows, owners and privileges too; without what is random in it."""
    command: list[str | Path] = [bin_directory() / "pg_dump", url]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)


def _dry_run(url: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [COMMAND, "migrate", "--dry-run"]
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _refused(url: str, *said: str, role: str = "postgres") -> None:
    """By the dry run and by migrate in the same words, and nothing is changed."""
    before, as_superuser, url = _dump(url), url, _as(role, url)
    dry_run = _dry_run(url)
    assert dry_run.returncode == 1
    for each in said:
        assert each in dry_run.stderr, dry_run.stderr
    with pytest.raises(SchemaRefused) as refused:
        migrate(DatabaseSettings(database_url=url))
    assert str(refused.value) in dry_run.stderr
    assert _dump(as_superuser) == before


@pytest.mark.parametrize("name", OBSTACLES)
def test_an_obstacle_is_told_before_the_first_change(kamdbctl_url: str, name: str) -> None:
    """And when it is away, by the remedy that was named, every migration is applied."""
    obstacle = OBSTACLES[name]
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("insert into version (table_name, table_version) values ('of the operator', 1)")
        connection.execute(obstacle.is_made_by.encode())
        _refused(kamdbctl_url, *obstacle.said)
        connection.execute(obstacle.is_cured_by.encode())
    assert len(migrate(DatabaseSettings(database_url=kamdbctl_url))) == MIGRATIONS


@pytest.fixture
def operator(kamdbctl_url: str) -> Iterator[str]:
    """A role that owns the database and Kamailio's tables, and is no superuser."""
    role = f"operator_{uuid4().hex}"
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(f"create role {role} login".encode())
        connection.execute(f"alter database {connection.info.dbname} owner to {role}".encode())
        connection.execute(f"grant create on schema public to {role}".encode())
        for table in TABLES:
            connection.execute(f"alter table {table} owner to {role}".encode())
        yield role
        connection.execute(f"reassign owned by {role} to postgres; drop owned by {role}; drop role {role}".encode())


def _as(role: str, url: str) -> str:
    return url.replace("postgres@", f"{role}@")


ROLE_OBSTACLES = {
    "no CREATEROLE": Obstacle(
        is_made_by="alter role registrations_report rename to registrations_report_away",
        said=(
            "{role} lacks CREATEROLE, and there is no role registrations_report:",
            "create role registrations_report login",
        ),
        is_cured_by="alter role registrations_report_away rename to registrations_report",
    ),
    "no CREATE on the schema": Obstacle(
        is_made_by="alter schema public owner to postgres; revoke create on schema public from {role}",
        said=("it lacks CREATE on schema public", "`grant create on schema public to {role}`"),
        is_cured_by="grant create on schema public to {role}",
    ),
    "another's location": Obstacle(
        is_made_by="alter table location owner to postgres; alter table subscriber owner to postgres",
        said=("the table location belongs to postgres", "the table subscriber belongs to postgres"),
        is_cured_by="alter table location owner to {role}; alter table subscriber owner to {role}",
    ),
    "location of a role of which it has not the rights": Obstacle(
        is_made_by="alter role {role} noinherit; create role {role}_group; grant {role}_group to {role}; "
        "alter table location owner to {role}_group; grant select on location to {role}",
        said=("the table location belongs to {role}_group; migrate as {role}_group",),
        is_cured_by="alter table location owner to {role}; drop role {role}_group",
    ),
    "read-only": Obstacle(
        is_made_by="alter role {role} set default_transaction_read_only = on",
        said=("transactions of role {role} are read-only here",),
        is_cured_by="alter role {role} reset default_transaction_read_only",
    ),
    "another schema first": Obstacle(
        is_made_by="create schema mine authorization {role}; alter role {role} set search_path = mine, public",
        said=("location is in schema public, but this login makes tables in mine",),
        is_cured_by="alter role {role} set search_path = public",
    ),
    "all at once": Obstacle(
        is_made_by="alter role registrations_report rename to registrations_report_away; create table account (x int); "
        "alter role {role} set default_transaction_read_only = on; alter table location owner to postgres",
        said=(
            "4 things are in the way, nothing was changed:\n",
            "lacks CREATEROLE",
            "table account",
            "read-only",
            "location belongs to postgres",
        ),
        is_cured_by="alter role registrations_report_away rename to registrations_report; drop table account; "
        "alter role {role} reset default_transaction_read_only; alter table location owner to {role}",
    ),
}


@pytest.mark.parametrize("name", ROLE_OBSTACLES)
def test_what_a_role_may_not_do_is_told_before_the_first_change(
    kamdbctl_url: str, database: psycopg.Connection, operator: str, name: str
) -> None:
    """With what to do about it, for a role that is no superuser."""
    assert database.execute("select count(*) from pg_roles where rolname = any (%s)", ([*ROLES],)).fetchone() == (5,)
    obstacle = ROLE_OBSTACLES[name]
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(obstacle.is_made_by.format(role=operator).encode())
        try:
            _refused(kamdbctl_url, *(each.format(role=operator) for each in obstacle.said), role=operator)
        finally:
            connection.execute(obstacle.is_cured_by.format(role=operator).encode())
    assert len(migrate(DatabaseSettings(database_url=_as(operator, kamdbctl_url)))) == MIGRATIONS


def test_a_role_that_may_not_make_a_schema_is_told_what_was_not_tried(
    kamdbctl_url: str, database: psycopg.Connection, operator: str
) -> None:
    """It needs that for nothing else."""
    del database  # whose roles are there then
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} owner to postgres".encode())
        told = _dry_run(_as(operator, kamdbctl_url))
        assert told.returncode == 0, told.stderr
        assert f"`grant create on database {connection.info.dbname} to {operator}`" in told.stderr
    assert len(migrate(DatabaseSettings(database_url=_as(operator, kamdbctl_url)))) == MIGRATIONS


def test_a_standby_is_refused(tmp_path: Path, postgres: Cluster, database: psycopg.Connection) -> None:
    """With what the URL must name."""
    with replica(tmp_path / "replica", of=postgres) as standby:
        told = _dry_run(standby.url(database.info.dbname))
    assert told.returncode == 1
    assert "this server is a read-only standby: have REGISTRATIONS_DATABASE_URL name the primary" in told.stderr


def test_what_another_version_made_without_our_record_is_told_in_one_line(kamdbctl_url: str) -> None:
    """As one of before 1.0.0 did: neither command lists every object, or says that nothing is there."""
    migrate_to(kamdbctl_url, "0010-worker")
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table registrations_migration rename to _yoyo_migration")
    said = "our tables are here, but no record of their migrations"
    _refused(kamdbctl_url, said)
    assert len(_dry_run(kamdbctl_url).stderr.splitlines()) == 1
    for command in (describe, uninstall):
        with pytest.raises(SchemaRefused, match=said):
            command(DatabaseSettings(database_url=kamdbctl_url))


def test_an_upgrade_looks_for_what_it_adds(kamdbctl_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there already is ours, and so is what the operator replaced since; what he has of a new name is his."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    migrate(settings)
    text = "create table novelty (x integer);\nalter table flush add column novel text;\n"
    text += "create function novelty() returns integer language sql return 1;\n"
    names = release_tomorrow(monkeypatch, f"-- Locks no table of Kamailio's.\n\n{text}")
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location enable row level security")  # his, since our roles are there
        connection.execute("alter table flush add column novel text")
        connection.execute("create table novelty (x integer)")
        with pytest.raises(SchemaRefused) as refused:
            migrate(settings)
        for said in ("column novel of table flush, of role postgres, has", "table novelty, of role postgres, has"):
            assert said in str(refused.value)
        connection.execute("drop table novelty; alter table flush drop column novel")
        connection.execute(NO_DDL.format(on="ddl_command_start when tag in ('CREATE FUNCTION')").encode())
        with pytest.raises(SchemaRefused, match="no changes before Christmas"):
            migrate(settings)
        connection.execute("drop event trigger frozen")
    assert migrate(settings) == names


def test_an_index_whose_building_was_interrupted_is_ours(kamdbctl_url: str) -> None:
    """The next run makes it again."""
    migrate_to(kamdbctl_url, "0001-location")
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("create index location_account_id_idx on location (account_id)")
    assert len(migrate(DatabaseSettings(database_url=kamdbctl_url))) == MIGRATIONS - 1


def test_a_refusal_at_the_first_migration_leaves_nothing(kamdbctl_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as of a table that was in use all the time; not even the record of migrations."""
    monkeypatch.setattr("sql.connections.lock_waits.LOCK_ATTEMPTS", 2)
    # But for numbers that its statements took of Kamailio's sequence.
    before = re.sub(r"version_id_seq', \d+", "", _dump(kamdbctl_url))
    with psycopg.connect(kamdbctl_url, application_name="a report") as holder:
        holder.execute("select from location")
        pid = holder.info.backend_pid
        with pytest.raises(
            SchemaRefused, match=rf"table is locked by process {pid} \(role postgres, a report, .*end that"
        ):
            migrate(DatabaseSettings(database_url=kamdbctl_url))
    assert re.sub(r"version_id_seq', \d+", "", _dump(kamdbctl_url)) == before


MADE = """
    select pg_describe_object('pg_class'::regclass, oid, 0) from pg_class c
    where relnamespace = 'public'::regnamespace and relkind <> 'c'
        -- names that PostgreSQL chose; it chooses others where these are taken
        and not (
            c.relname ~ '_pkey$'
            or c.relkind = 'S' and exists (
                select from pg_depend d
                where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('i', 'a')
            )
        )
    union
    select pg_describe_object('pg_type'::regclass, oid, 0) from pg_type
    where typnamespace = 'public'::regnamespace and typtype = 'd'
    union
    select pg_describe_object('pg_proc'::regclass, oid, 0) from pg_proc where pronamespace = 'public'::regnamespace
    union
    select pg_describe_object('pg_trigger'::regclass, t.oid, 0)
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    where not t.tgisinternal
    union
    select pg_describe_object('pg_class'::regclass, attrelid, attnum) from pg_attribute
    where attrelid = 'location'::regclass and attnum > 0 and not attisdropped
"""


def _names(connection: psycopg.Connection) -> set[str]:
    return {row[0] for row in connection.execute(MADE.encode())}


def test_no_name_is_overlooked(kamdbctl_url: str, database: psycopg.Connection) -> None:
    """Each name that a database has after `migrate`, and had not before, would be told if the operator had it."""
    wanted = {kind: sorted(names) for kind, names in asdict(names_made_by(all_migrations())).items()}
    with psycopg.connect(kamdbctl_url, autocommit=True) as adopted:
        of_kamailio = _names(adopted)
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        for connection in (adopted, database):
            told = {what for what, _ in connection.execute(statement("migrate_taken_names"), wanted)}
            assert _names(connection) - of_kamailio - told == set()
