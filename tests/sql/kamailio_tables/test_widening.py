"""`registrations-db widen`: columns get wider beside a live proxy, and all that holds them stays as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from sql.check.database import check_database, find_facts
from sql.connections.database import connect
from sql.console.finding import Severity
from sql.errors import SchemaRefused
from sql.kamailio_tables.indexes import Index
from sql.kamailio_tables.widening import widen
from sql.schema.migrate import migrate
from sql.schema.uninstall import uninstall
from sql.settings import DatabaseSettings
from tests.sql.registrations import location_samples
from tests.stand.postgres import bin_directory
from tests.stand.process import wait_until

COMMAND = Path(sys.executable).parent / "registrations-db"
# Views of an operator's, of every kind that there is: on the table, on ours, and on each other.
OWN_VIEWS = """
do $$ begin
    if to_regrole('some_operator') is null then create role some_operator; create role some_reader; end if;
end $$;
grant create on schema public to some_operator;
alter default privileges grant select on tables to some_reader;
create table seen (number bigint, text text);
create view phones with (security_barrier = true, check_option = local) as
    select id, username, contact as place, user_agent from location where username <> '';
alter view phones rename column user_agent to model;
alter view phones alter column model set default 'unknown';
create rule noted as on insert to phones do also insert into seen values (new.id, new.place);
comment on view phones is 'the operator''s own';
comment on column phones.place is 'where it is';
comment on rule noted on phones is 'a note';
revoke all on phones from some_reader;
grant select on phones to registrations_report with grant option;
grant select (id, model), update (model) on phones to some_reader;
alter view phones owner to some_operator;
create view report as select r.id, r.username, p.place from registrations r join phones p on p.id = r.id;
create function forget() returns trigger language plpgsql as 'begin return null; end';
create trigger forget instead of delete on report for each row execute function forget();
comment on trigger forget on report is 'nothing goes';
revoke all on report from current_user;
grant select on report to public;
create view models as
    with recursive n (id) as (select min(id) from phones union all select id + 1 from n where id < 3)
    select p.model, count(*) from phones p join n on n.id = p.id group by p.model;
grant select (username, id) on location to some_reader;
comment on column location.id is 'the number';
create index location_own_idx on location (reg_id, (id % 10)) include (id) where id > 5;
comment on index location_own_idx is 'an index';
comment on constraint location_pkey on location is 'a key';
alter index location_own_idx alter column 2 set statistics 500;
alter table location add "my-id" integer, alter id set statistics 400, alter id set (n_distinct = -1);
create index location_odd_idx on location (id, "my-id") where callid <> 'it''s "id" id';
create unique index location_pkey_wide on location (ruid, reg_id);
create index location_of_which_the_name_has_as_many_bytes_as_it_can_have_1_1 on location (id);
create index location_of_which_the_name_has_as_many_bytes_as_it_can_have_1_2 on location (id desc);
alter table location cluster on location_pkey, replica identity using index location_pkey;
"""
# On a database that is not ours yet.
STOCK_VIEW = "create view phones as select id, username, contact from location"


@pytest.fixture
def adopted(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A database of kamdbctl with rows, migrated, with views of an operator's."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        location_samples.load(connection, midnight=location_samples.DAY)
        connection.execute(OWN_VIEWS)
        yield connection


def _schema(url: str) -> str:
    """All that pg_dump knows, owners, privileges and comments too; without what is random in it."""
    command: list[str | Path] = [bin_directory() / "pg_dump", "--schema-only", url]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)


def _changed(schema: str, table: str, change: Callable[[str], str]) -> str:
    """The same with other columns in one table."""
    head, start, rest = schema.partition(f"CREATE TABLE public.{table} (\n")
    columns, end, tail = rest.partition("\n)")
    changed = change(columns)
    assert changed != columns
    return head + start + changed + end + tail


def _with_wide_text(schema: str, column: str, width: int, *, table: str = "location") -> str:
    """What pg_dump writes when a column has more characters."""
    old = re.compile(rf"^(    {column} character varying)\(\d+\)", re.MULTILINE)
    return _changed(schema, table, lambda columns: old.sub(rf"\1({width})", columns))


def _with_wide_id(schema: str, table: str = "location") -> str:
    """What pg_dump writes when id is bigint, and the last of the columns."""
    sequence = f"CREATE SEQUENCE public.{table}_id_seq\n"
    return _changed(
        schema.replace(f"{sequence}    AS integer\n", sequence),
        table,
        lambda columns: columns.removeprefix("    id integer NOT NULL,\n") + ",\n    id bigint NOT NULL",
    )


def _widen(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [COMMAND, "widen", *arguments]
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _found(url: str) -> dict[str, Severity]:
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        found = list(check_database(connection, facts=find_facts(connection)))
    return {each.id: each.severity for each in found if each.severity is not Severity.OK}


ROWS = "select id, ruid, username, contact, expires from location order by ruid"


@pytest.mark.parametrize(
    ("column", "width"), [("contact", 1024), ("received", 300), ("username", 100), ("user_agent", 10485760)]
)
def test_a_text_gets_wider_and_nothing_else_changes(
    adopted: psycopg.Connection, kamdbctl_url: str, column: str, width: int
) -> None:
    """Views of ours and of the operator's are as they were, to the last privilege; longer values can be written."""
    schema, rows = _schema(kamdbctl_url), adopted.execute(ROWS).fetchall()
    done = _widen(kamdbctl_url, column, str(width))
    assert (done.returncode, done.stdout) == (0, f"location.{column} is wider\n"), done.stderr
    assert _schema(kamdbctl_url) == _with_wide_text(schema, column, width)
    assert adopted.execute(ROWS).fetchall() == rows
    adopted.execute(f"update location set {column} = %s where id = 1".encode(), ("x" * 100,))
    again = _widen(kamdbctl_url, column, str(width))
    assert (again.returncode, again.stdout) == (0, f"location.{column} is already that wide\n"), again.stderr


def test_an_index_that_was_not_built_anew_is_built_by_the_next_call(
    adopted: psycopg.Connection, kamdbctl_url: str
) -> None:
    """As after a kill between the two, or in the middle of building it; the column is wide already."""
    schema = _schema(kamdbctl_url)
    adopted.execute("drop index location_contact_address_idx")
    adopted.execute(
        "update pg_index set indisvalid = false where indexrelid = 'location_received_address_idx'::regclass"
    )
    assert _widen(kamdbctl_url, "received", "128").returncode == 0
    assert _schema(kamdbctl_url) == schema
    assert adopted.execute("select from pg_index where not indisvalid").fetchall() == []


def test_a_transaction_that_reads_the_table_is_waited_for_and_named(
    adopted: psycopg.Connection, kamdbctl_url: str
) -> None:
    """As a report: longer than any limit of time for statements of ours, which would leave an index half built."""
    with psycopg.connect(kamdbctl_url, application_name="a report") as report:
        report.execute("select from location")
        command: list[str | Path] = [COMMAND, "widen", "contact", "1024"]
        environment = {
            **os.environ,
            "REGISTRATIONS_DATABASE_URL": kamdbctl_url,
            "REGISTRATIONS_DATABASE_STATEMENT_TIMEOUT": "1",
        }
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as widen:
            assert widen.stderr is not None
            for line in widen.stderr:
                if "waiting for" in line:
                    break
            assert f"process {report.info.backend_pid}" in line
            assert "a report" in line
            report.rollback()
            assert "Error" not in widen.stderr.read()
        assert widen.returncode == 0
    assert adopted.execute("select from pg_index where not indisvalid").fetchall() == []


def test_a_database_that_was_never_migrated_gets_no_index_of_ours(kamdbctl_url: str) -> None:
    """Kamailio's column is wider, and migrate finds nothing in its way."""
    schema = _schema(kamdbctl_url)
    assert _widen(kamdbctl_url, "contact", "1024").returncode == 0
    assert _schema(kamdbctl_url) == _with_wide_text(schema, "contact", 1024)


KAMAILIO_TEXTS = {
    "location": "ruid username domain contact received path callid user_agent socket instance",
    "location_attrs": "ruid username domain aname avalue",
}


@pytest.mark.parametrize("table", KAMAILIO_TEXTS)
def test_every_text_of_kamailios_gets_wider(adopted: psycopg.Connection, kamdbctl_url: str, table: str) -> None:
    """With a view of the operator's on all of them, after migrate; a value of that length can be written."""
    columns = KAMAILIO_TEXTS[table].split()
    ours = "a.attname <> all (array['account_id', 'device_id', 'owner_id', 'device_state'])"
    of_kamailio = f"""
        select attname from pg_attribute a
        where attrelid = '{table}'::regclass and atttypid = 'varchar'::regtype and attnum > 0 and {ours}
        order by attnum
    """
    assert [name for (name,) in adopted.execute(of_kamailio.encode())] == columns
    adopted.execute(f"create view everything as select * from {table}; drop index location_odd_idx".encode())
    schema = _schema(kamdbctl_url)
    for column in columns:
        done = _widen(kamdbctl_url, column, "600", "--table", table)
        assert (done.returncode, done.stdout) == (0, f"{table}.{column} is wider\n"), done.stderr
        schema = _with_wide_text(schema, column, 600, table=table)
    assert _schema(kamdbctl_url) == schema
    values = ", ".join("repeat('x', 600)" for _ in columns)
    adopted.execute(f"insert into {table} ({', '.join(columns)}) values ({values})".encode())


@pytest.mark.parametrize("table", ["location", "location_attrs"])
def test_an_id_gets_wider_and_nothing_else_changes(adopted: psycopg.Connection, kamdbctl_url: str, table: str) -> None:
    """Also when they have run out: it is bigint, and the last column; rows keep their numbers, and the next is 2^31."""
    adopted.execute(f"insert into {table} (ruid) values ('one')".encode())
    adopted.execute(f"select setval('{table}_id_seq', 2147483647)".encode())
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded):
        adopted.execute(f"insert into {table} (ruid) values ('none')".encode())
    rows = adopted.execute(f"select id, ruid from {table} order by ruid".encode()).fetchall()
    # Its comment goes with it behind the others, and what it is divided by is a bigint, too.
    expected = _with_wide_id(_schema(kamdbctl_url), table)
    if table == "location":
        expected = expected.replace("((id % 10))", "((id % (10)::bigint))")
    done = _widen(kamdbctl_url, "id", "--table", table)
    assert (done.returncode, done.stdout) == (0, f"{table}.id is wider\n"), done.stderr
    assert sorted(_schema(kamdbctl_url).splitlines()) == sorted(expected.splitlines())
    assert adopted.execute(f"select id, ruid from {table} order by ruid".encode()).fetchall() == rows
    adopted.execute(f"insert into {table} (ruid) values ('two')".encode())
    found = adopted.execute(f"select id from {table} where ruid = 'two'".encode()).fetchone()
    assert found == (2147483648,)
    again = _widen(kamdbctl_url, "id", "--table", table)
    assert (again.returncode, again.stdout) == (0, f"{table}.id is already that wide\n"), again.stderr


SEQUENCE = """
    select s.data_type::text, s.max_value, s.increment_by, s.cache_size, s.cycle, s.last_value, c.relname,
        array(select x::text from unnest(c.relacl) x order by 1)
    from pg_sequences s join pg_class c on c.oid = pg_get_serial_sequence('location', 'id')::regclass
    where s.sequencename = c.relname
"""


@pytest.mark.parametrize("generated", ["always", "by default"])
def test_an_identity_column_stays_one(kamdbctl_url: str, generated: str) -> None:
    """With its sequence: the name, privileges and step of that, and where it was; check names the command."""
    identity = f"generated {generated} as identity (sequence name location_id_seq increment 2 start 2147483645 cache 3)"
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(
            "alter table location alter id drop default; drop sequence location_id_seq; "
            f"alter table location alter id add {identity}".encode()
        )
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        connection.execute("insert into location (ruid, expires) values ('one', '1970-01-01')")
        assert _found(kamdbctl_url)["ids_used"] is Severity.FAULT
        before = connection.execute(SEQUENCE).fetchone()
        assert before is not None
        assert widen(DatabaseSettings(database_url=kamdbctl_url), "id", None)
        assert connection.execute(SEQUENCE).fetchone() == ("bigint", 2**63 - 1, *before[2:])
        connection.execute("insert into location (ruid, expires) values ('two', '1970-01-01')")
        assert connection.execute("select id from location order by id").fetchall() == [(2147483645,), (2147483649,)]
        row = connection.execute(
            "select attidentity::text, format_type(atttypid, null) from pg_attribute "
            "where attrelid = 'location'::regclass and attname = 'id'"
        ).fetchone()
        assert row == ("a" if generated == "always" else "d", "bigint")
        connection.execute("delete from location")
        assert _found(kamdbctl_url) == {}
        assert not widen(DatabaseSettings(database_url=kamdbctl_url), "id", None)


@pytest.mark.parametrize(
    ("sequence", "why"),
    [
        ("alter table location alter id type bigint", "refuses new rows"),
        (
            "alter table location alter id type bigint; alter sequence location_id_seq as bigint maxvalue 5000000000 "
            "restart 3000000000",
            "refuses new rows",
        ),
        ("alter sequence location_id_seq maxvalue 5000000 restart 4000000 cycle", "starts again"),
        ("alter sequence location_id_seq restart 1073741824", "refuses new rows"),
    ],
    ids=["integer sequence", "maximum of a bigint", "cycle", "half"],
)
def test_whatever_limits_the_ids_is_told_and_widened(kamdbctl_url: str, sequence: str, why: str) -> None:
    """The type of the column, that of the sequence, its maximum: from half of it on, with the command that mends it."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(sequence.encode())
        migrate(settings)
        if "restart" not in sequence:
            connection.execute("select setval('location_id_seq', 1073741823)")
        connection.execute("insert into location (ruid, expires) values ('one', '1970-01-01')")
        with connect(settings, application_name="test") as other:
            (told,) = [each for each in check_database(other, facts=find_facts(other)) if each.id == "ids_used"]
        assert why in told.why
        assert told.remedy.startswith("registrations-db widen id,")
        assert widen(settings, "id", None)
        connection.execute("delete from location")
        assert _found(kamdbctl_url) == {}
        assert not widen(settings, "id", None)


def test_a_dry_run_tells_each_step_and_its_lock_and_changes_nothing(
    adopted: psycopg.Connection, kamdbctl_url: str
) -> None:
    """The same steps as are then taken."""
    for arguments in (("id",), ("contact", "1024")):
        schema = _schema(kamdbctl_url)
        told = _widen(kamdbctl_url, *arguments, "--dry-run")
        assert (told.returncode, told.stdout) == (0, "nothing was changed\n"), told.stderr
        assert _schema(kamdbctl_url) == schema
        assert all("lock" in line or "no REGISTER waits" in line for line in told.stderr.splitlines())
        assert _widen(kamdbctl_url, *arguments).stderr == told.stderr
    assert adopted.execute("select count(*) from location").fetchone() != (0,)


# A command is refused if this session has read rows of location since it has that to itself.
WATCH = """
create function watch_location() returns event_trigger language plpgsql as $$
declare
    read bigint := pg_stat_get_xact_tuples_returned('location'::regclass);
begin
    if not exists (
        select from pg_locks
        where pid = pg_backend_pid() and relation = 'location'::regclass and mode = 'AccessExclusiveLock'
    ) then
        perform set_config('test.read', read::text, false);
    elsif read > coalesce(current_setting('test.read', true), '0')::bigint then
        raise exception 'it reads rows while phones wait';
    end if;
end $$;
create event trigger watch_start on ddl_command_start execute function watch_location();
create event trigger watch_end on ddl_command_end execute function watch_location();
"""


@pytest.mark.parametrize(("column", "width"), [("id", None), ("contact", 1024)])
def test_no_row_is_read_while_the_table_is_locked(
    adopted: psycopg.Connection, kamdbctl_url: str, column: str, width: int | None
) -> None:
    """So it is locked for an instant, however many rows there are."""
    adopted.execute(WATCH)
    with pytest.raises(psycopg.errors.RaiseException, match="reads rows"):
        adopted.execute("alter table location add constraint noticed check (cseq is not null)")
    assert widen(DatabaseSettings(database_url=kamdbctl_url), column, width)


def test_after_it_all_is_well_and_nothing_is_left(kamdbctl_url: str) -> None:
    """check finds nothing, migrate has nothing to do, and uninstall leaves what kamdbctl made, but for wide columns."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    stock = _schema(kamdbctl_url)
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter sequence location_id_seq restart with 2000000000")
        connection.execute("insert into location (ruid, expires) values ('one', '1970-01-01')")
        migrate(settings)
        assert _found(kamdbctl_url)["ids_used"] is Severity.FAULT
        widen(settings, "id", None)
        widen(settings, "contact", 1024)
        connection.execute("delete from location")
        assert _found(kamdbctl_url) == {}
        assert migrate(settings) == []
        uninstall(settings)
        assert _schema(kamdbctl_url) == _with_wide_id(_with_wide_text(stock, "contact", 1024))


def test_a_bigint_whose_sequence_is_integer_gets_its_sequence_only(kamdbctl_url: str) -> None:
    """As an operator leaves it who alters the column alone."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location alter id type bigint")
        assert widen(DatabaseSettings(database_url=kamdbctl_url), "id", None)
        connection.execute("select setval('location_id_seq', 2147483648)")
        assert not widen(DatabaseSettings(database_url=kamdbctl_url), "id", None)


def test_a_narrow_column_that_a_view_of_the_operators_holds(kamdbctl_url: str) -> None:
    """migrate leaves it, check names the command, and that is the remedy."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location alter contact type varchar(255), alter received type varchar(64)")
        connection.execute(STOCK_VIEW)
        migrate(settings)
        with connect(settings, application_name="test") as checking:
            (found,) = (
                each for each in check_database(checking, facts=find_facts(checking)) if each.id == "columns_narrow"
            )
        assert found.remedy == "registrations-db widen contact 512"
        assert _widen(kamdbctl_url, *found.remedy.split()[2:]).returncode == 0
        assert _found(kamdbctl_url) == {}
        connection.execute("insert into location (ruid, contact) values ('long', %s)", ("x" * 512,))
        assert connection.execute("select length(contact) from phones").fetchall() == [(512,)]


REFUSED = {
    "a materialized view": (
        "create materialized view copy as select id, contact from location",
        "materialized view copy",
    ),
    "one on a view": (
        "create materialized view copy as select id, contact from live_location",
        "materialized view copy",
    ),
    "a function's body": (
        "create function newest() returns text begin atomic select max(id)::text || max(contact) from location; end",
        "function newest()",
    ),
    "a function of a view's rows": (
        "create view v as select id, contact from location; "
        "create function rows_of_v() returns setof v language sql as 'select * from v'",
        "function rows_of_v()",
    ),
    "a column of a view's type": (
        "create view v as select id, contact from location; create table t (one v)",
        "column one of table t",
    ),
    "a rule of a table": (
        "create table t (n integer); create rule r as on insert to t do also "
        "update location set cflags = 1 where id = new.n and contact = ''",
        "table t",
    ),
    "a policy": ("create policy p on location using (id > 0 and contact <> '')", "policy p on table location"),
    "a trigger of the column": (
        "create trigger t after update of id, contact on location for each row "
        "execute function suppress_redundant_updates_trigger()",
        "trigger t on table location",
    ),
    "a constraint": ("alter table location add check (id > 0 and contact <> 'x')", "constraint location_check"),
    "a view with privileges of a third party": (
        "create view v as select id, contact from location; "
        "grant select on v to registrations_report with grant option; "
        "set role registrations_report; grant select on v to registrations_api; reset role",
        "view v",
    ),
}
REFUSED_TEXT = {
    "an index that would be built anew": (
        "create index own on location (lower(contact))",
        "index own",
    ),
}
ARCHIVE = """
create table archive (like location);
create function archive() returns trigger language plpgsql as $$ begin
    insert into archive values (old.*); return old; end $$;
create trigger archive after delete on location for each row execute function archive()
"""
REFUSED_ID = {
    "a trigger that stores rows whole": (ARCHIVE, "phones could not register any more, by a trigger"),
    "a foreign key": ("create table t (location_id integer references location (id))", "constraint t_location_id_fkey"),
    "a publication of the table": ("create publication p for table location", "publication p"),
    "a publication of all tables": ("create publication p for all tables", "publication p"),
    "a key that is deferrable": (
        "alter table location drop constraint location_pkey, add primary key (id) deferrable",
        "constraint location_pkey",
    ),
    "a sequence that the default names by a text": (
        "alter table location alter id set default nextval('location_id_seq'::text)",
        "location.id is not as kamdbctl makes it",
    ),
    "a sequence of its own that the default does not use": (
        "create sequence other; alter table location alter id set default nextval('other')",
        "sequence location_id_seq",
    ),
}


@pytest.mark.parametrize(
    ("arguments", "made", "named"),
    [
        pytest.param(arguments, *case, id=f"{arguments[0]}: {name}")
        for arguments, more in ((("contact", "1024"), REFUSED_TEXT), (("id",), REFUSED_ID))
        for name, case in {**REFUSED, **more}.items()
    ],
)
def test_what_could_not_be_put_back_is_named_and_nothing_is_changed(
    kamdbctl_url: str, arguments: tuple[str, ...], made: str, named: str
) -> None:
    """One line, before anything is done."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(made.encode())
    schema = _schema(kamdbctl_url)
    refused = _widen(kamdbctl_url, *arguments)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: ")
    assert named in refused.stderr.splitlines()[-1]
    assert _schema(kamdbctl_url) == schema


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("contact", "511"), "location.contact has 512 characters already, and is never made narrower"),
        (("contact",), "location.contact has 512 characters: say how many it is to have"),
        (("q", "10"), "location.q is real"),
        (("id", "64"), "id is a number without a width"),
        (("kontakt", "600"), "there is no column location.kontakt"),
    ],
)
def test_what_is_not_wider_is_refused(kamdbctl_url: str, arguments: tuple[str, ...], said: str) -> None:
    """One line that says why."""
    refused = _widen(kamdbctl_url, *arguments)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {said}")
    assert len(refused.stderr.splitlines()) == 1


MANY = 20_000
FILL = f"""
insert into location (ruid, username, contact) select 'r' || n, 'u' || n, 'sip:' || n from generate_series(1, {MANY}) n
"""


def test_a_row_that_somebody_holds_is_not_waited_for(kamdbctl_url: str) -> None:
    """The rows behind it are copied at once, and it is when it is free."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as connection,
        psycopg.connect(kamdbctl_url) as register,
        ThreadPoolExecutor(1) as thread,
    ):
        connection.execute("insert into location (ruid) select 'r' || n from generate_series(1, 100) n")

        def report(line: str) -> None:
            if line.startswith("copying"):
                register.execute("update location set cseq = cseq + 1 where ruid = 'r7'")

        widening = thread.submit(widen, settings, "id", None, report=report)
        copied = "select count(to_jsonb(l) ->> 'id_wide') from location l"  # none before the column is there
        wait_until(lambda: connection.execute(copied).fetchone() == (99,), 20, "all rows but one to be copied")
        register.commit()
        assert widening.result(timeout=60)
        ids = connection.execute("select count(*), min(id), max(id), pg_typeof(max(id))::text from location").fetchone()
        assert ids == (100, 1, 100, "bigint")


@pytest.mark.parametrize(("column", "width"), [("id", None), ("contact", 1024)])
def test_an_autovacuum_gives_way(kamdbctl_url: str, column: str, width: int | None) -> None:
    """PostgreSQL cancels it for whoever waits for a second; it takes long, and begins once the ids are copied."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("update location set cseq = cseq + 1")
        connection.execute(
            "alter table location set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, "
            "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)"
        )
        connection.execute("alter system set autovacuum_naptime = '1s'")
        connection.execute("select pg_reload_conf()")
        vacuums = (
            "select from pg_stat_activity where query like 'autovacuum: VACUUM%% public.location' and datname = %s"
        )
        name = connection.info.dbname
        try:
            wait_until(lambda: connection.execute(vacuums, (name,)).fetchone() is not None, 60, "an autovacuum")
            assert widen(DatabaseSettings(database_url=kamdbctl_url), column, width)
        finally:
            connection.execute("alter system reset autovacuum_naptime")
            connection.execute("select pg_reload_conf()")


def test_an_index_is_the_same_on_the_second_column() -> None:
    """Whether PostgreSQL quotes every name (quote_all_identifiers), or those alone that need it."""
    odd = """("my-id", "id""x", "x""id", lower('id'), lower('it''s "id" id'), my_id, "id", id, (id % 8)) where id > 0"""
    wide = odd.replace(', "id", id, (id %', ", id_wide, id_wide, (id_wide %").replace("where id", "where id_wide")
    index = Index(name="", is_primary=False, wide_name="", head="", body=odd, tablespace="", is_built=None, kept=[])
    assert index.build == wide


def test_rows_come_from_elsewhere_meanwhile(kamdbctl_url: str) -> None:
    """Logical replication and a restore fire no ordinary trigger: such a row has both ids all the same."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")

        def report(line: str) -> None:
            if line.startswith(("checking", "the second")):
                connection.execute("insert into location (ruid) values (%s)", (line[:64],))

        assert widen(DatabaseSettings(database_url=kamdbctl_url), "id", None, report=report)
        assert connection.execute("select id from location order by id").fetchall() == [(1,), (2,)]


def test_rows_that_a_policy_hides_from_the_owner(kamdbctl_url: str) -> None:
    """They could not be copied, and every refresh of such a phone would fail from the constraint on."""
    owner = f"owner_{uuid4().hex}"
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("insert into location (ruid) values ('seen'), ('hidden')")
        connection.execute(
            f"create role {owner} login; grant create on schema public to {owner}; "
            f"alter table location owner to {owner}; grant select on version to {owner}; "
            "alter table location enable row level security, force row level security; "
            "create policy p on location using (ruid <> 'hidden')"
        )
        with pytest.raises(SchemaRefused, match="row-level security"):
            widen(DatabaseSettings(database_url=kamdbctl_url.replace("postgres@", f"{owner}@")), "id", None)
        assert connection.execute("update location set cseq = cseq + 1").rowcount == 2
        connection.execute(f"reassign owned by {owner} to postgres; drop owned by {owner}; drop role {owner}")


def test_uninstall_refuses_a_column_that_is_half_widened(kamdbctl_url: str) -> None:
    """It names the command that completes it; after that it goes."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    stock = _schema(kamdbctl_url)
    migrate(settings)
    said: set[str] = set()
    while not any(line.startswith("copying") for line in said):
        assert _kill_at_a_new_step(kamdbctl_url, said)
    with pytest.raises(SchemaRefused, match=r"registrations-db widen id --table location$"):
        uninstall(settings)
    assert widen(settings, "id", None)
    uninstall(settings)
    assert _schema(kamdbctl_url) == _with_wide_id(stock)


def _kill_at_a_new_step(url: str, said: set[str]) -> bool:
    """Begin, and be killed (SIGKILL) at the first step that no run before has said; whether there was one."""
    command: list[str | Path] = [COMMAND, "widen", "id"]
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "in use" not in line and line not in said:
                run.kill()
                said.add(line)
                return True
    assert run.returncode == 0
    return False


def test_it_can_be_killed_at_any_step_and_repeated(kamdbctl_url: str) -> None:
    """Each run begins where the one before was killed; phones register in between. In the end nothing is left over."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(FILL)
        expected = _with_wide_id(_schema(kamdbctl_url))
        said: set[str] = set()
        while _kill_at_a_new_step(kamdbctl_url, said):
            connection.execute("insert into location (ruid) values (%s)", (f"new{len(said)}",))
            connection.execute("update location set cseq = cseq + 1 where ruid = any (array['r1', 'r2', 'new1'])")
        assert len([line for line in said if line.startswith("index ")]) == 4
        assert len(said) >= 8
        assert _schema(kamdbctl_url) == expected
        rows = connection.execute("select count(*), min(id), max(id), count(distinct id) from location").fetchone()
        assert rows == (MANY + len(said), 1, MANY + len(said), MANY + len(said))
