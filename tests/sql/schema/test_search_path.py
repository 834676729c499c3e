"""No role runs its code with the rights of another: where our functions look names up, and attacks by all roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from sql.connections.database import connect
from sql.errors import SchemaRefused
from sql.schema.migrate import migrate
from sql.schema.search_path import enter_schema
from sql.settings import DatabaseSettings
from sql.statements import statement
from tests.stand.postgres import SUPERUSER, Cluster

ROLES = (
    "registrations_kamailio",
    "registrations_api",
    "registrations_sync",
    "registrations_report",
    "registrations_import",
)
# An SQL-standard body is bound to its tables when it is made, but for names that are texts in it.
UNSAFE = """
    select p.oid::regprocedure::text
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = %(schema)s
        and not coalesce(format('search_path=%%I, pg_temp', n.nspname) = any (p.proconfig), false)
        and (p.prosqlbody is null or pg_get_function_sqlbody(p.oid) ~ 'to_reg')
    order by 1
"""
ODD_SCHEMA = "Odd, schema"
Trapped = Callable[[str], "Attacker"]


def unsafe(connection: psycopg.Connection, schema: str = "public") -> set[str]:
    """Functions whose names the caller's search_path decides."""
    return {row[0] for row in connection.execute(UNSAFE, {"schema": schema})}


def test_every_function_looks_names_up_in_our_schema(database: psycopg.Connection) -> None:
    """Or has its names bound; a path ends with pg_temp, which is searched first where it is not named."""
    assert unsafe(database) == set()


def test_on_a_database_of_kamdbctl_too(kamdbctl_url: str) -> None:
    """Functions that are made only there; Kamailio's own are not ours to change. And the one of `widen id`."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        before = unsafe(connection)
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        assert unsafe(connection) == before
    with connect(DatabaseSettings(database_url=kamdbctl_url), application_name="test") as connection:
        enter_schema(connection)
        names = {"table": sql.Identifier("location"), "name": sql.Identifier("location_id_wide")}
        connection.execute(sql.SQL(statement("widen_begin")).format(**names), prepare=False)
        assert unsafe(connection) == before


def test_in_a_schema_of_any_name_too(postgres: Cluster) -> None:
    """The migrations take the first schema of the operator's search_path; the rest of it is not looked into."""
    name = f"odd_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            path = sql.SQL("alter database {} set search_path = {}, public").format(
                sql.Identifier(name), sql.Identifier(ODD_SCHEMA)
            )
            admin.execute(path)
            with psycopg.connect(postgres.url(name), autocommit=True) as connection:
                connection.execute(sql.SQL("create schema {}").format(sql.Identifier(ODD_SCHEMA)))
                migrate(DatabaseSettings(database_url=postgres.url(name)))
                made = connection.execute(
                    "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
                    "where n.nspname = current_schema()"
                ).fetchone()
                assert made is not None
                assert made[0] > 20
                assert unsafe(connection, ODD_SCHEMA) == set()
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.mark.parametrize(
    "rest",
    [
        "language plpgsql as $$ begin return 1; end $$",
        "language sql as 'select 1'",
        "language plpgsql set search_path = public as $$ begin return 1; end $$",
        "language plpgsql set search_path = pg_temp, public as $$ begin return 1; end $$",
        "language sql return (select 1 where to_regclass('account') is not null)",
    ],
)
def test_a_function_that_the_caller_could_mislead_is_found(database: psycopg.Connection, rest: str) -> None:
    """The walk over pg_proc can fail."""
    database.execute(f"create function loose() returns integer {rest}")
    assert unsafe(database) == {"loose()"}


@dataclass
class Attacker:
    """A session of a role, with traps laid; `caught` are the roles whose rights ran into one."""

    connection: psycopg.Connection
    caught: set[str]

    def attack(self) -> None:
        """Try everything that may fire a trigger or call a function; what is refused is refused."""
        for blow in BLOWS:
            with suppress(psycopg.Error):
                self.connection.execute(blow)


# Names in them are those of our schema; the traps have the same ones without it.
BLOWS = (
    "insert into public.account (id, name, realm) values ('evil', 'evil', 'evil.test'), ('second', 's', 'second.test')",
    "insert into public.owner (id, account_id) values ('owner', 'evil')",
    "insert into public.device (id, account_id, sip_username) values ('evil-1', 'evil', 'evil')",
    "insert into public.device (id, account_id, sip_username, sip_realm, ha1) "
    "values ('evil-2', 'evil', 'evil', 'own.test', repeat('0', 32))",
    "update public.account set realm = 'other.test' where id = 'evil'",
    "update public.account set id = 'renamed' where id = 'evil'",
    "update public.account set id = 'evil' where id = 'renamed'",
    "update public.account set parent_id = 'second' where id = 'evil'",
    "update public.account set enabled = false where id = 'evil'",
    "update public.account set enabled = true where id = 'evil'",
    "update public.device set ha1 = repeat('1', 32), enabled = false",
    "update public.device set enabled = true",
    "update public.device set sip_realm = 'other-own.test' where id = 'evil-2'",
    "update public.device set owner_id = 'owner' where id = 'evil-1'",
    "update public.device set id = 'evil-3' where id = 'evil-2'",
    "update public.device set account_id = 'second', owner_id = null",
    "update public.owner set account_id = 'second', id = 'o'",
    "insert into public.location (ruid, username, domain) values ('r', 'evil', 'third.test')",
    "update public.location set expires = 1, flushed_epoch = 1, account_id = 'evil'",
    "insert into public.location_attrs (ruid) values ('r')",
    "update public.location_attrs set aname = 'x'",
    "insert into public.registration_source (ruid) values ('r')",
    "insert into public.flush (account_id, cause, requested_by) values ('evil', 'request', 'x')",
    "insert into public.flush_node (flush_id, node) select id, 1 from public.flush",
    "update public.flush set finished_at = pg_catalog.now()",
    "select public.token_access('\\x01', 'evil')",
    "select public.token_from_api_key('\\x02', '\\x03', null, null)",
    "select public.token_revoke('\\x01')",
    "select public.account_follow_domains()",
    "select public.registrations_count('evil')",
    "select public.directory_is_of_subscriber()",
    "table public.registrations",
    "table public.location_directory",
    "table public.location_enrichment",
    "table public.directory",
    "delete from public.device",
    "delete from public.owner",
    "delete from public.account",
    "delete from public.auth_token",
    "delete from public.flush",
    "delete from public.location",
    "delete from public.registration_source",
    "delete from public.location_attrs",
)
ALARM = """
    create function pg_temp.alarm(pg_catalog.text) returns pg_catalog.text language plpgsql as $$
    begin
        raise warning 'caught %', current_user;
        return null;
    end $$;
    create function pg_temp.spring() returns trigger language plpgsql as $$
    begin
        perform pg_temp.alarm(null);
        return null;
    end $$;
"""
# PostgreSQL looks for types in pg_temp, as for tables, before all other schemas where the path does not say when; for
# functions and operators never.
SHADOWS = """
    create function pg_temp.lower(pg_catalog.varchar) returns pg_catalog.text language sql
        return pg_temp.alarm(null);
    create function pg_temp.now() returns pg_catalog.timestamptz language sql
        return pg_temp.alarm(null)::timestamptz;
    create function pg_temp.same(public.identifier, public.identifier) returns boolean language sql
        return pg_temp.alarm(null)::boolean;
    create operator pg_temp.= (leftarg = public.identifier, rightarg = public.identifier, function = pg_temp.same);
    create domain pg_temp.identifier as pg_catalog.text check (pg_temp.alarm(null) is null);
    create domain pg_temp.realm as pg_catalog.text check (pg_temp.alarm(null) is null);
    create domain pg_temp.text as pg_catalog.text check (pg_temp.alarm(null) is null);
    set search_path = pg_temp, public, pg_catalog;
"""


def _lay_traps(connection: psycopg.Connection, relations: list[tuple[str, list[str]]]) -> None:
    """In the place of each table and view one that raises the alarm whenever it is read or written."""
    connection.execute(ALARM)
    for name, columns in relations:
        connection.execute(f"create temporary view {name} as select {', '.join(columns)}".encode())
        connection.execute(
            f"create trigger spring instead of insert or update or delete on pg_temp.{name} "
            "for each row execute function pg_temp.spring()".encode()
        )
    connection.execute(SHADOWS)


@pytest.fixture(params=["alone", "on kamdbctl"])
def target(request: pytest.FixtureRequest) -> str:
    """A migrated database whose import role may more than it is granted: what a function does is tested here.

    On a database of kamdbctl the directory is Kamailio's subscribers.
    """
    url = str(request.getfixturevalue("database_url" if request.param == "alone" else "kamdbctl_url"))
    migrate(DatabaseSettings(database_url=url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("grant insert, update on account, owner, device to registrations_import")
        connection.execute("insert into account (id, name, realm) values ('admin', 'A', 'admin.test')")
        connection.execute("insert into auth_token (token_hash, account_id) values (sha256('x'), 'admin')")
        if request.param != "alone":
            connection.execute("insert into subscriber (username, domain) values ('u', 'new.test')")
    return url


@pytest.fixture
def trapped(target: str) -> Iterator[Trapped]:
    """Log a role in and lay its traps."""
    with ExitStack() as stack:

        def trap(role: str) -> Attacker:
            with psycopg.connect(target) as owner:
                relations = owner.execute(
                    "select quote_ident(c.relname), array_agg(format('pg_temp.alarm(null)::%s as %I', "
                    "case when t.typnamespace = 'public'::regnamespace then 'public.' else '' end "
                    "|| format_type(a.atttypid, null), a.attname) order by a.attnum) "
                    "from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
                    "join pg_type t on t.oid = a.atttypid "
                    "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') group by 1"
                ).fetchall()
            connection = stack.enter_context(psycopg.connect(target, user=role, autocommit=True))
            caught = set[str]()
            connection.add_notice_handler(
                lambda notice: caught.add((notice.message_primary or "").removeprefix("caught "))
            )
            _lay_traps(connection, relations)
            caught.clear()
            return Attacker(connection, caught)

        yield trap


@pytest.fixture(params=[*ROLES, "a worker that may import"])
def attacker(request: pytest.FixtureRequest, trapped: Trapped, postgres: Cluster) -> Iterator[Attacker]:
    """One of each role, and the worker as the README has it import from Kazoo."""
    if request.param in ROLES:
        yield trapped(request.param)
        return
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("grant registrations_import to registrations_sync")
        yield trapped("registrations_sync")
        admin.execute("revoke registrations_import from registrations_sync")


def test_no_role_has_another_run_its_code(attacker: Attacker) -> None:
    """Temporary tables, types, functions and operators in the place of ours, and every way to have them looked up."""
    attacker.attack()
    assert attacker.caught <= {attacker.connection.info.user}


@pytest.mark.parametrize("role", ["registrations_api", "registrations_sync", "registrations_import"])
def test_these_attacks_succeed_on_functions_without_a_path(
    request: pytest.FixtureRequest, target: str, trapped: Trapped, role: str
) -> None:
    """Else the test before this one would prove nothing."""
    with psycopg.connect(target) as owner:
        owner.execute(
            "do $$ declare f regprocedure; begin for f in select oid from pg_proc "
            "where array_to_string(proconfig, ' ') ~ 'search_path=public, pg_temp' and prosqlbody is null "
            "loop execute format('alter function %s reset search_path', f); end loop; end $$"
        )
    attacker = trapped(role)
    attacker.attack()
    makes_accounts = "kamdbctl" in request.node.callspec.id
    assert (SUPERUSER in attacker.caught) == (role != "registrations_sync" or makes_accounts)


@pytest.mark.parametrize("condition", ["current_user <> session_user", "true"])
def test_the_cascade_of_a_foreign_key_makes_nobody_superuser(
    database: psycopg.Connection, postgres: Cluster, condition: str
) -> None:
    """A new realm of an account goes on to its devices with the rights of their table's owner."""
    role = "registrations_import"
    with psycopg.connect(postgres.url(database.info.dbname, user=role), autocommit=True) as connection:
        connection.execute("insert into account (id, name, realm) values ('evil', 'evil', 'evil.test')")
        connection.execute("insert into device (id, account_id, sip_username) values ('evil-1', 'evil', 'evil')")
        connection.execute(
            "create function pg_temp.payload(text) returns text language plpgsql as $$ begin "
            f"if {condition} then execute format('alter role %I superuser', session_user); end if; "
            "return 'evil2.test'; end $$"
        )
        connection.execute(
            "create temp view account as "
            "select 'evil'::text as id, pg_temp.payload('x') as realm, null::text as parent_id"
        )
        connection.execute("update public.account set realm = 'evil2.test' where id = 'evil'")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("update public.account set id = 'evil2' where id = 'evil'")
    assert database.execute("select realm, rolsuper from device, pg_roles where rolname = %s", (role,)).fetchall() == [
        ("evil2.test", False)
    ]


@pytest.fixture
def stranger(database: psycopg.Connection) -> Iterator[str]:
    """A role that may make objects in the schema, as everybody may in PostgreSQL 14's schema public."""
    name = f"stranger_{uuid4().hex}"
    database.execute(f"create role {name}")
    database.execute(f"grant create, usage on schema public to {name}")
    yield name
    database.execute("reset role")
    database.execute(f"drop owned by {name}")
    database.execute(f"drop role {name}")


PLANTED = (
    "create function lower(varchar) returns text language sql return 'x'::text",
    "create function own(realm, realm) returns boolean language sql return true; "
    "create operator = (leftarg = realm, rightarg = realm, function = own)",
)


@pytest.mark.parametrize("planted", PLANTED)
def test_a_schema_with_functions_of_another_role_is_left_alone(
    database: psycopg.Connection, database_url: str, stranger: str, planted: str
) -> None:
    """PostgreSQL prefers lower(varchar) in our schema to its own lower(text): it would run as who migrates."""
    database.execute(f"set role {stranger}")
    database.execute(planted.encode())
    with pytest.raises(SchemaRefused, match=f"could run code of another role .* of role {stranger}"):
        migrate(DatabaseSettings(database_url=database_url))


def test_functions_of_the_owner_are_no_obstacle(database: psycopg.Connection, database_url: str, stranger: str) -> None:
    """Nor what has a name that PostgreSQL does not use."""
    database.execute(PLANTED[0].encode())
    database.execute(f"set role {stranger}")
    database.execute("create function no_name_of_postgresql() returns integer language sql return 1")
    migrate(DatabaseSettings(database_url=database_url))
