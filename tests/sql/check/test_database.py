"""What a check finds in the database alone: each finding is provoked, and none of them is in a healthy one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from sql.check.database import check_database, find_facts
from sql.connections.database import connect
from sql.console.finding import Finding, Severity
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

Check = Callable[..., dict[str, Finding]]


def _check(url: str) -> dict[str, Finding]:
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        found = list(check_database(connection, facts=find_facts(connection)))
    return {each.id: each for each in found if each.severity is not Severity.OK}


@pytest.fixture
def check(database: psycopg.Connection, postgres: Cluster) -> Check:
    """Look at the test's database with the rights of the worker's role; by id what does not stand."""
    return lambda: _check(postgres.url(database.info.dbname, user="registrations_sync"))


@pytest.fixture
def enrich(database: psycopg.Connection) -> Callable[[], None]:
    """What the worker does, in one statement."""

    def enrich() -> None:
        database.execute(
            "update location l set account_id = e.account_id, device_id = e.device_id, enriched_at = now() "
            "from location_enrichment e where e.id = l.id"
        )

    return enrich


def test_a_healthy_database_has_no_finding(
    check: Check, directory: Directory, add_binding: AddBinding, enrich: Callable[[], None]
) -> None:
    """Devices that are registered, rows as usrloc writes them, the worker's role: all well."""
    for username, domain in (("alice", "reseller.test"), ("bob", "child.test"), ("alice", "sibling.test")):
        add_binding(username, domain)
    enrich()
    assert check() == {}


def test_a_database_of_kamdbctl_has_no_finding_after_migrate(kamdbctl_url: str) -> None:
    """Its TIMESTAMP columns and its own table subscriber are no fault."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    assert _check(kamdbctl_url) == {}


# What is done to a healthy database, the finding that comes of it, and what its sentence must name.
CATALOGS = {
    "location_version": ("update version set table_version = 8 where table_name = 'location'", "8"),
    "schema_open": ("grant create on schema public to public", "public"),
    "unlogged": ("alter table location set unlogged", "UNLOGGED: location"),
    "index_refreshed": ("create index location_expires_idx on location (expires)", "location_expires_idx"),
    "index_invalid": (
        "update pg_index set indisvalid = false where indexrelid = 'location_tcpcon_idx'::regclass",
        "location_tcpcon_idx",
    ),
    "ambiguous_realm": (
        "alter table account drop constraint account_realm_key; "
        "insert into account (id, name, realm) values ('twin', 'Twin', 'child.test')",
        "child.test",
    ),
    "ambiguous_aor": (
        "create or replace view directory as select username, realm, device_id, device_name, account_id, account_name, "
        "account_realm, owner_id, owner_name, enabled, presence_id, suppress_unregister_notify, "
        "register_overwrite_notify from (select lower(d.sip_username) as username, d.realm, "
        "(d.id)::text as device_id, d.name as device_name, d.account_id::text, a.name as account_name, "
        "a.realm::text as account_realm, d.owner_id::text, ''::text as owner_name, true as enabled, d.presence_id, "
        "true as suppress_unregister_notify, false as register_overwrite_notify "
        "from device d join account a on a.id = d.account_id cross join generate_series(1, 2)) twice",
        "bob@child.test",
    ),
}


@pytest.mark.parametrize("finding", CATALOGS)
def test_what_is_wrong_with_tables_and_directory_is_named(
    check: Check, directory: Directory, database: psycopg.Connection, finding: str
) -> None:
    """Each is one finding, with what it is about, why it matters and what to do."""
    statements, name = CATALOGS[finding]
    database.execute(statements)
    found = check()[finding]
    assert name in found.what
    assert found.why
    assert found.remedy


@pytest.mark.parametrize(
    ("revoked", "named"),
    [
        ("select on directory from registrations_sync", "directory: select"),
        ("update (owner_id) on location from registrations_sync", "location (owner_id): update"),
        ("usage on sequence location_id_seq from registrations_kamailio", "location_id_seq: usage"),
        ("execute on function token_revoke(bytea) from registrations_api", "token_revoke(bytea): execute"),
    ],
)
def test_a_grant_that_is_missing_is_named_and_its_remedy_works(
    check: Check, database: psycopg.Connection, revoked: str, named: str
) -> None:
    """For tables, columns, sequences and functions."""
    database.execute(f"revoke {revoked}")
    found = {"grants": _check_as_owner(database)["grants"]}
    assert named in found["grants"].what
    database.execute(found["grants"].remedy)
    assert check() == {}


def _check_as_owner(database: psycopg.Connection) -> dict[str, Finding]:
    info = database.info
    return _check(f"postgresql://{info.user}@{info.host}:{info.port}/{info.dbname}")


def test_kamailios_own_role_is_looked_at_where_it_is_connected(
    check: Check, database: psycopg.Connection, postgres: Cluster
) -> None:
    """A user that kamdbctl made can write location, perhaps, and not the rest; a member of our role can."""
    database.execute(
        "do $$ begin if to_regrole('some_kamailio') is null then create role some_kamailio login; end if; end $$"
    )
    database.execute("grant select, insert, update, delete on location to some_kamailio")
    url = postgres.url(database.info.dbname, user="some_kamailio")
    with psycopg.connect(url, application_name="kamailio"):
        found = check()["grants_kamailio"]
        assert "location_attrs: insert" in found.what
        assert "location: insert" not in found.what
        database.execute(found.remedy)
        assert check() == {}
    database.execute("drop owned by some_kamailio; drop role some_kamailio")


# Columns of a row, and the finding that it is.
ROWS: dict[str, tuple[dict[str, str | None], str]] = {
    "no_account": ({"domain": "nowhere.test"}, "1 registrations"),
    "no_realm": ({"domain": None}, "1 registrations"),
    "no_device": ({"username": "stranger"}, "1 registrations"),
}


@pytest.mark.parametrize("finding", ROWS)
def test_what_registrations_lack_is_told(
    check: Check, directory: Directory, add_binding: AddBinding, enrich: Callable[[], None], finding: str
) -> None:
    """A row without its realm, its account or its device; one that is expired is nobody's concern."""
    columns, said = ROWS[finding]
    row: dict[str, Any] = {"username": "bob", "domain": "child.test", **columns}
    add_binding(**row)
    add_binding(**row, expires=1, last_modified=int(time.time()) - 700)
    enrich()
    found = check()
    assert set(found) - {"devices_silent"} == {finding}
    assert said in found[finding].what


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"last_modified": 300}, "in the future"),
        ({"last_modified": -300}, "30[0-9] seconds old when it was written"),
        ({"last_modified": -9000, "expires": -5400}, "every registration seems expired"),
    ],
    ids=["ahead", "behind", "expired"],
)
def test_a_clock_that_is_not_postgresqls_is_told(
    check: Check,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    row: dict[str, int],
    said: str,
) -> None:
    """Ahead, behind, or all of it long expired; seconds from now."""
    now = int(time.time())
    add_binding("bob", "child.test", **{name: now + seconds for name, seconds in row.items()})
    if "expires" in row:
        database.execute("update location set first_registered_at = now() - interval '3 hours'")
    assert re.search(said, check()["clock"].what)


def test_devices_without_a_registration_are_counted(
    check: Check,
    directory: Directory,
    add_binding: AddBinding,
    enrich: Callable[[], None],
    database: psycopg.Connection,
) -> None:
    """Disabled ones are not meant to be there."""
    add_binding("alice", "reseller.test")
    database.execute("update device set enabled = false where id = 'device-other'")
    enrich()
    found = check()["devices_silent"]
    assert found.severity is Severity.NOTE
    assert "1 of 2" in found.what


def test_narrow_columns_are_told(check: Check, database: psycopg.Connection) -> None:
    """With the command for each, as a table of an older kamdbctl has them that could not be widened by migrate."""
    # What views show cannot be narrowed by ALTER, so the catalog is told.
    database.execute(
        "update pg_attribute set atttypmod = case attname when 'contact' then 255 else 64 end + 4 "
        "where attrelid = 'location'::regclass and attname in ('contact', 'received')"
    )
    found = check()["columns_narrow"]
    assert "contact has 255, not 512" in found.what
    assert "received has 64, not 128" in found.what
    assert found.remedy == "registrations-db widen contact 512; registrations-db widen received 128"


def test_a_narrow_table_of_an_old_kamdbctl_is_widened_by_migrate(kamdbctl_url: str) -> None:
    """Its rows stay, and longer contacts can be written."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location alter contact type varchar(255), alter received type varchar(64)")
        connection.execute("insert into location (ruid, username, contact) values ('old', 'bob', 'sip:bob@192.0.2.1')")
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        connection.execute("insert into location (ruid, username, contact) values ('new', 'bob', %s)", ("x" * 512,))
        rows = connection.execute("select ruid, length(contact) from location order by id").fetchall()
    assert rows == [("old", 17), ("new", 512)]


# 2^30 and 2^31: half of what a column of integer, or a sequence of integer, can have, and one more than its highest.
HALF, RANGE = 1 << 30, 1 << 31


@pytest.mark.parametrize("table", ["location", "location_attrs"])
@pytest.mark.parametrize(
    ("column", "sequence", "last", "severity"),
    [
        ("integer", "integer", HALF - RANGE // 100, None),
        ("integer", "integer", HALF, Severity.WARNING),
        ("integer", "integer", RANGE // 100 * 91, Severity.FAULT),
        ("integer", "bigint", HALF, Severity.WARNING),
        ("bigint", "integer", HALF, Severity.WARNING),
        ("bigint", "bigint", HALF, None),
        ("bigint", "bigint", 1 << 40, None),
    ],
)
def test_ids_that_are_used_up_are_told_in_time(
    kamdbctl_url: str, table: str, column: str, sequence: str, last: int, severity: Severity | None
) -> None:
    """From half of the range on, whether column or sequence ends it; near its end it is a fault."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(f"alter table {table} alter id type {column}")
        connection.execute(f"alter sequence {table}_id_seq as {sequence} restart with {last}")
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        connection.execute(f"insert into {table} (ruid) values ('one')")
    found = _check(kamdbctl_url.replace("postgres@", "registrations_sync@")).get("ids_used")
    assert (found.severity if found else None) == severity
    if found:
        assert str(last) in found.what
        assert found.remedy.startswith("registrations-db widen id")
        assert ("--table location_attrs" in found.remedy) == (table == "location_attrs")


def test_a_check_waits_for_no_lock_and_takes_none_that_kamailio_meets(
    check: Check, database: psycopg.Connection, database_url: str, directory: Directory, add_binding: AddBinding
) -> None:
    """It is made while a REGISTER holds its row, and while somebody keeps every writer out."""
    add_binding("bob", "child.test")
    with psycopg.connect(database_url) as register:
        register.execute("update location set cseq = cseq + 1")
        register.execute("lock table location in exclusive mode")  # only readers get in
        assert "clock" not in check()


def test_a_directory_that_is_too_slow_is_told(
    directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> None:
    """What took longer than a statement may is left out, with a note, and the rest is looked at."""
    view = database.execute("select pg_get_viewdef('directory')").fetchone()
    assert view is not None
    slow = view[0].rstrip().rstrip(";") + " where pg_sleep(60) is not null"
    database.execute("create or replace view directory as " + slow)
    url = postgres.url(database.info.dbname, user="registrations_sync")
    settings = DatabaseSettings(database_url=url, database_statement_timeout=0.2)
    with connect(settings, application_name="test") as connection:
        found = {each.id for each in check_database(connection, facts=find_facts(connection))}
    assert "directory_slow" in found
    assert "grants" in found


def test_a_write_that_fails_otherwise_is_told(check: Check, database: psycopg.Connection) -> None:
    """As by a quota of the disk; here by a privilege, which can be had without one."""
    found = database.execute("select oid::regprocedure::text from pg_proc where proname = 'pg_logical_emit_message'")
    for (function,) in found.fetchall():
        database.execute(f"revoke execute on function {function} from public".encode())
    told = check()["database_write"]
    assert "permission denied for function pg_logical_emit_message" in told.what
    assert told.severity is Severity.FAULT
