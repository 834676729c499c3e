"""The four roles try everything, and can do what was promised of them, and nothing else.

What they may is written down here from what each is for, and not read from the grants. Which tables, views
and functions are there, the database says: a new one is closed until it stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors, sql

from tests.fixtures.directory import Directory
from tests.stand.postgres import Cluster

ALL = "*"
FLUSHES = ("flush", "flush_binding", "flush_node")
ENRICHED = ("account_id", "device_id", "owner_id", "enriched_at", "first_registered_at", "device_state")
IMPORTED_OF_ACCOUNTS = ("parent_id", "name", "realm", "enabled")
IMPORTED_OF_DEVICES = (
    *("account_id", "owner_id", "name", "sip_username", "sip_realm", "ha1", "enabled", "presence_id"),
    *("suppress_unregister_notify", "register_overwrite_notify"),
)
TOMBSTONE = ("flushed_epoch", "flushed_cseq", "flushed_callid")

# Of each role: verb, relation, and either all of its columns or some.
MAY: dict[str, set[tuple[str, str, str]]] = {
    # Stores what phones register, and asks for the password of each.
    "registrations_kamailio": {
        *(("select", name, ALL) for name in ("location", "location_attrs", "subscriber", "version")),
        *((verb, name, ALL) for verb in ("insert", "update", "delete") for name in ("location", "location_attrs")),
    },
    # Shows registrations, and writes down flushes and what they hide. It removes nothing from location.
    "registrations_api": {
        *(("select", name, ALL) for name in ("registrations", "live_location", "location_directory", "directory")),
        *(("select", name, ALL) for name in ("location", "kamailio_node", "registrations_migration", *FLUSHES)),
        ("select", "registration_source", ALL),
        *(("select", "account", column) for column in ("id", "parent_id", "name", "realm")),
        *((verb, name, ALL) for verb in ("insert", "update") for name in FLUSHES),
        ("delete", "flush_binding", ALL),
        *(("update", "location", column) for column in TOMBSTONE),
    },
    # Writes our columns of location, removes what is dead, and goes on with flushes. It changes no usrloc column.
    "registrations_sync": {
        *(
            ("select", name, ALL)
            for name in ("live_location", "location_directory", "location_enrichment", "directory", "report_device")
        ),
        *(("select", name, ALL) for name in ("location", "version", "kamailio_node")),
        *(("select", name, ALL) for name in ("device_credentials", "registrations_migration", *FLUSHES)),
        *(("select", "account", column) for column in ("id", "parent_id", "name", "realm")),
        *(("select", "auth_token", column) for column in ("id", "last_used_at", "idle_lifetime")),
        *((verb, "leader", ALL) for verb in ("select", "insert", "update")),
        *((verb, "registration_source", ALL) for verb in ("select", "insert", "update", "delete")),
        ("select", "leading_session", ALL),
        *((verb, name, ALL) for verb in ("insert", "update") for name in FLUSHES),
        *(("delete", name, ALL) for name in ("location", "auth_token", *FLUSHES)),
        *(("update", "location", column) for column in (*ENRICHED, *TOMBSTONE)),
    },
    # Writes the directory, for whoever may import one; but neither what an account may nor an ID.
    "registrations_import": {
        *((verb, name, ALL) for verb in ("select", "delete") for name in ("account", "owner", "device")),
        *((verb, "account", column) for verb in ("insert", "update") for column in IMPORTED_OF_ACCOUNTS),
        ("update", "account", "automatic"),
        ("insert", "owner", ALL),
        *(("update", "owner", column) for column in ("account_id", "name")),
        *((verb, "device", column) for verb in ("insert", "update") for column in IMPORTED_OF_DEVICES),
        *(("insert", name, "id") for name in ("account", "device")),
        ("select", "auth_token", "account_id"),
        ("select", "registrations_migration", ALL),
    },
    # Reads what people ask about, and nothing secret; writes nothing.
    "registrations_report": {
        *(("select", name, ALL) for name in ("registrations", "directory", "owner", "kamailio_node")),
        *(("select", f"report_{name}", ALL) for name in ("registration", "device", "account", "flush")),
        *(("select", name, ALL) for name in ("flush", "flush_node")),
        *(
            ("select", "account", column)
            for column in ("id", "parent_id", "name", "realm", "enabled", "superduper_admin")
        ),
    },
}
EXECUTED_BY = {
    "token_access": "registrations_api",
    "token_from_api_key": "registrations_api",
    "token_revoke": "registrations_api",
    "account_follow_domains": "registrations_sync",
}
SECRETS = (
    "device.ha1",
    "account.api_key_hash",
    "auth_token.token_hash",
    "fingerprint_key.key",
    "pg_authid.rolpassword",
)
ATTEMPTS = (
    "create schema mine",
    "create role mine",
    "create extension hstore",
    "create event trigger mine on ddl_command_end execute function device_note_credentials()",
    "create trigger mine before insert on location for each row execute function device_note_credentials()",
    "create index on location (contact)",
    "alter table location add column mine text",
    "alter table location disable trigger all",
    "drop view registrations",
    "drop table flush",
    "alter role registrations_report superuser",
    "grant registrations_kamailio to current_user",
    "grant select on fingerprint_key to current_user",
    "set role postgres",
    "select pg_read_file('/etc/hostname')",
    "copy location to program 'true'",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and pid <> pg_backend_pid()",
)

Connect = Callable[[str], psycopg.Connection]


@pytest.fixture
def connect_as(database: psycopg.Connection, postgres: Cluster) -> Iterator[Connect]:
    """A connection with the rights of a role."""
    with ExitStack() as stack:

        def connect(role: str) -> psycopg.Connection:
            url = postgres.url(database.info.dbname, user=role)
            return stack.enter_context(psycopg.connect(url, autocommit=True))

        yield connect


@pytest.fixture(params=MAY)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _is_let_in(connection: psycopg.Connection, query: str, *names: str) -> bool:
    """Whether PostgreSQL begins to execute it. Other faults than these come after the rights were looked at."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL(query).format(*map(sql.Identifier, names)))
    except (
        errors.InsufficientPrivilege,
        # What nobody can write to: a view of several tables, a column that is calculated.
        errors.ObjectNotInPrerequisiteState,
        errors.FeatureNotSupported,
        errors.WrongObjectType,
        errors.GeneratedAlways,
    ):
        return False
    except psycopg.Error:
        return True
    return True


def _tried(connection: psycopg.Connection, relations: dict[str, list[str]]) -> set[tuple[str, str, str]]:
    """What the role of this connection can do, in the form of MAY."""
    can = set()
    by_column = {
        "select": "select {1} from {0} limit 0",
        "insert": "insert into {0} ({1}) values (default)",
        "update": "update {0} set {1} = default where false",
    }
    for name, columns in relations.items():
        for verb, query in by_column.items():
            allowed = [column for column in columns if _is_let_in(connection, query, name, column)]
            can |= {(verb, name, column) for column in ([ALL] if allowed == columns else allowed)}
        for verb, query in (("delete", "delete from {0} where false"), ("truncate", "truncate {0}")):
            if _is_let_in(connection, query, name):
                can.add((verb, name, ALL))
    return can


@pytest.fixture
def relations(database: psycopg.Connection) -> dict[str, list[str]]:
    """Every table and view of the schema, with its columns."""
    found = database.execute(
        "select table_name, array_agg(column_name::text order by ordinal_position) from information_schema.columns "
        "where table_schema = 'public' group by 1"
    )
    return dict(found.fetchall())


def test_a_role_can_do_what_it_is_for_and_nothing_else(
    connect_as: Connect, relations: dict[str, list[str]], role: str
) -> None:
    """Each verb on each column of each table and view is tried; those that PostgreSQL lets in are those promised."""
    assert _tried(connect_as(role), relations) == MAY[role]


def test_no_role_reads_a_secret(connect_as: Connect, role: str) -> None:
    """Neither as a column, nor as a part of its row; Kamailio alone has ha1, by the table of those who may register.

    But for who imports: it compares what is there with what comes.
    """
    connection = connect_as(role)
    for table, column in (secret.split(".") for secret in SECRETS):
        if role == "registrations_import" and table in {"device", "account"}:
            continue
        for query in (f"select {column} from {table}", f"select {table}::text from {table}", f"table {table}"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(query)


def test_functions_with_their_owners_rights_are_executed_by_those_they_are_for(
    database: psycopg.Connection, connect_as: Connect, role: str
) -> None:
    """The API asks about tokens, the worker makes accounts of domains; nobody else does either."""
    query = "select oid::regprocedure::text from pg_proc where prosecdef and prorettype <> 'trigger'::regtype"
    functions = [row[0] for row in database.execute(query)]
    assert {name.partition("(")[0] for name in functions} == set(EXECUTED_BY)
    connection = connect_as(role)
    for function in functions:
        name, _, types = function.rstrip(")").partition("(")
        arguments = ", ".join("null" for _ in types.split(",")) if types else ""
        assert _is_let_in(connection, f"select from {name}({arguments})") == (role == EXECUTED_BY[name]), function


def test_no_role_makes_a_trigger_of_the_owners_functions(connect_as: Connect, role: str) -> None:
    """A temporary table with such a trigger would let a role write who may log in."""
    connection = connect_as(role)
    connection.execute("create temporary table mine (id text)")
    for function in ("device_note_subscriber", "account_note_subscribers"):
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"create trigger t after insert on mine execute function {function}()")


def test_no_role_makes_or_changes_anything(connect_as: Connect, role: str) -> None:
    """Neither schema nor roles, files, programs or sessions of others."""
    connection = connect_as(role)
    for attempt in ATTEMPTS:
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(attempt)


def test_a_temporary_table_of_the_same_name_gives_nobody_the_owners_rights(
    database: psycopg.Connection, connect_as: Connect, directory: Directory
) -> None:
    """A function with its owner's rights never looks into the caller's schema: its triggers would have these rights."""
    connection = connect_as("registrations_api")
    connection.execute(
        "create temp table auth_token (id integer, token_hash bytea, account_id text, note text, "
        "last_used_at timestamptz, idle_lifetime interval, restrictions jsonb)"
    )
    connection.execute("create temp table account (id text, parent_id text, enabled boolean, superduper_admin boolean)")
    connection.execute(
        "create function pg_temp.rise() returns trigger language plpgsql as "
        "$$ begin execute 'create table public.risen ()'; return new; end $$"
    )
    for table in ("auth_token", "account"):
        connection.execute(
            f"create trigger rise before insert or update or delete on {table} "
            "for each row execute function pg_temp.rise()"
        )
    connection.execute("alter table auth_token disable trigger all")
    connection.execute(
        "insert into auth_token (token_hash, account_id, last_used_at, idle_lifetime) "
        "values ('\\x01', 'admin', now() - interval '1 day', interval '2 days')"
    )
    connection.execute("alter table auth_token enable trigger all")
    assert connection.execute("select * from token_access('\\x01', 'admin')").fetchall() == []
    connection.execute("select token_revoke('\\x01')")
    connection.execute("select token_from_api_key('\\x02', '\\x03', null, null)")
    assert database.execute("select to_regclass('public.risen')").fetchone() == (None,)
