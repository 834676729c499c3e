"""Servers with Turkish and German locales, by libc and by ICU, and with other output formats for values.

In Turkish the lower case of I is not i, so names that usrloc has lower-cased as ASCII must be compared the same way.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from flask.testing import FlaskClient

from sql.connections.database import open_connection
from sql.errors import SessionShared
from sql.settings import DatabaseSettings
from sql.statements import statement
from tests.demo.content import program
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.kamdbctl import create_by_kamdbctl
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import FetchSources, StartJobs
from tests.sql.registrations.test_plans import explained, rows_read
from tests.stand.pgbouncer import pgbouncer
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster, cluster

pytestmark = pytest.mark.long

# None of these values is PostgreSQL's default.
SETTINGS = {
    "datestyle": "German, DMY",
    "intervalstyle": "postgres_verbose",
    "timezone": "Europe/Istanbul",
    "extra_float_digits": "-14",
    "bytea_output": "escape",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "quote_all_identifiers": "on",
}
DIRECTORY = {
    "accounts": [{"id": "info", "name": "İnfo", "realm": "INFO.example.com"}],
    "owners": [{"id": "idris", "account_id": "info", "name": "İdris"}],
    "devices": [
        {"id": "i-1", "account_id": "info", "owner_id": "idris", "sip_username": "INFO", "password": "secret"},
        {"id": "i-2", "account_id": "info", "sip_username": "Lobby-I", "password": "secret"},
        {"id": "i-3", "account_id": "info", "sip_username": "SILENT", "password": "secret"},
    ],
}
REALM = "info.example.com"


@pytest.fixture(scope="module", params=["tr_TR.UTF-8", "de_DE.UTF-8", "tr-TR-u-ks-level2"])
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with that locale, from libc (created for the test) or from ICU."""
    directory, name = tmp_path_factory.mktemp("locale"), request.param
    options: dict[str, Any] = {"initdb": ["--locale-provider=icu", f"--icu-locale={name}"]}
    if "_" in name:
        command: list[str | Path] = ["localedef", "-i", name.partition(".")[0], "-f", "UTF-8", directory / name]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"cannot create the locale {name}: {made.stderr.strip()}")
        options = {"locale": name, "env": {"LOCPATH": str(directory)}}
    with ExitStack() as running:
        try:
            server = running.enter_context(cluster(directory / "postgres", settings=SETTINGS, **options))
        except subprocess.CalledProcessError:
            pytest.skip(f"this PostgreSQL has no ICU, so no locale {name}")
        yield server


def make_database(server: Cluster) -> str:
    """Make an empty database; return its URL."""
    name = f"bare_{uuid4().hex}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
    return server.url(name)


@pytest.fixture
def kamdbctl_url(postgres: Cluster) -> str:
    """URL of a database that Kamailio's own script made."""
    name = f"stock_{uuid4().hex}"
    create_by_kamdbctl(postgres, name)
    return postgres.url(name)


@pytest.fixture
def database(postgres: Cluster, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A database that the operator's commands have migrated and given a directory."""
    url = make_database(postgres)
    run("migrate", url=url)
    (tmp_path / "directory.json").write_text(json.dumps(DIRECTORY))
    run("import", str(tmp_path / "directory.json"), url=url)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_url(database: psycopg.Connection, postgres: Cluster) -> str:
    """URL of that database."""
    return postgres.url(database.info.dbname)


def run(*arguments: str, url: str, status: int = 0, command: str = "registrations-db") -> str:
    """Run the operator's command and return its output on both streams."""
    ended = subprocess.run(
        [program(command), *arguments],
        env={**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": NOWHERE},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


class Client:
    """A client of the API with a token of the account `info`."""

    def __init__(self, http: FlaskClient, token: str) -> None:
        self._http, self._headers = http, {"X-Auth-Token": token}

    def ask(self, path: str, method: str = "GET", accept: str = "application/json") -> Any:
        """Return the answer, as JSON or as rows of CSV."""
        headers = {**self._headers, "Accept": accept}
        response = self._http.open(f"/v2/accounts/info/{path}", method=method, headers=headers)
        assert response.status_code == 200, response.text
        if accept == "text/csv":
            return list(csv.DictReader(io.StringIO(response.text, newline="")))
        return response.get_json()

    def users(self, path: str = "registrations", **options: str) -> list[tuple[str, str]]:
        """Return usernames and devices of a list, sorted."""
        answer = self.ask(path, **options)
        rows = answer if options else answer["data"]
        return sorted((row["username"], row["authorizing_id"]) for row in rows)

    def pages(self) -> list[str]:
        """Return the usernames of the list, read in pages of one."""
        found, start = [], ""
        while True:
            answer = self.ask(f"registrations?page_size=1{start}")
            found += [row["username"] for row in answer["data"]]
            if "next_start_key" not in answer:
                return found
            start = f"&start_key={answer['next_start_key']}"


StartClient = Callable[..., Client]


@pytest.fixture
def start_client(start_api: StartApi, database_url: str) -> StartClient:
    """Make a client."""

    def start(rpc_url: str, account: str = "info") -> Client:
        token = run("token", "create", account, url=database_url).splitlines()[0]
        return Client(start_api(kamailio_rpc=rpc_url), token)

    return start


def test_phones_are_listed_followed_and_flushed(
    database: psycopg.Connection,
    postgres: Cluster,
    start_kamailio: StartKamailio,
    start_jobs: StartJobs,
    start_client: StartClient,
    fetch_sources: FetchSources,
) -> None:
    """It works before and after the worker has enriched them, for a flush of a username and of a disabled device."""
    proxy = start_kamailio(database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"))
    client, jobs = start_client(proxy.rpc_url), start_jobs(kamailio_rpc=proxy.rpc_url)
    with ExitStack() as phones:
        for username in ("INFO", "Lobby-I", "SILENT"):
            phone = phones.enter_context(Phone(username, "INFO.example.com", "secret", proxy=proxy.sip))
            assert phone.register().status == 200
        fetch_sources(proxy.rpc_url, rows=3)
        assert database.execute("select distinct from_user from registration_source").fetchall() == [(None,)]
        everybody = [("info", "i-1"), ("lobby-i", "i-2"), ("silent", "i-3")]
        for enriched in (3, 0):
            assert client.users() == everybody
            assert client.users(accept="text/csv") == everybody
            assert client.pages() == ["silent", "lobby-i", "info"]
            assert client.users("registrations?filter_username=info") == [("info", "i-1")]
            assert client.ask("registrations/count")["data"]["count"] == 3
            statuses = client.ask("devices/status")["data"]
            assert [each["device_id"] for each in statuses] == ["i-1", "i-2", "i-3"]
            assert jobs.enrich() == {"enriched": enriched}
        answer = client.ask("registrations/LOBBY-I?check_sync=false", "DELETE")
        assert (answer["flushed"], answer["pending"]) == (1, 0)
        database.execute("update device set enabled = false where id = 'i-1'")
        assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}
        jobs.flush(0)
        assert database.execute("select username from location").fetchall() == [("silent",)]
        flushes = client.ask("registrations/flushes")["data"]
        assert [(each["username"], each["cause"]) for each in flushes] == [("info", "disabled"), ("lobby-i", "request")]


def test_a_flush_asks_for_a_device_without_a_row(database: psycopg.Connection, start_client: StartClient) -> None:
    """A node may hold a binding without a row. The request may have the name in any case."""
    start_client(NOWHERE).ask("registrations/InFo?check_sync=false", "DELETE")
    rows = "select q.username, f.username from flush q join flush_binding f on f.flush_id = q.id"
    assert database.execute(rows).fetchall() == [("info", "info")]


def test_kamailios_own_subscribers_are_the_directory(
    kamdbctl_url: str, postgres: Cluster, start_jobs: StartJobs
) -> None:
    """Domains in capital letters become accounts, too."""
    name = kamdbctl_url.rpartition("/")[2]
    with psycopg.connect(kamdbctl_url, autocommit=True) as stock:
        stock.execute("insert into subscriber (username, domain, ha1) values ('INFO', 'INFO.Example', 'x')")
        run("migrate", url=kamdbctl_url)
        stock.execute("insert into subscriber (username, domain, ha1) values ('idris', 'Izmir.Example', 'x')")
        for username, domain in (("info", "info.example"), ("idris", "izmir.example")):
            stock.execute(
                "insert into location (ruid, username, domain, last_modified, expires) values "
                "(%s, %s, %s, now() at time zone 'UTC', now() at time zone 'UTC' + interval '1 hour')",
                (f"uloc-{username}", username, domain),
            )
        jobs = start_jobs(database_name=name)
        jobs.enrich()
        assert jobs.reconcile()["accounts_made"] == 1
        rows = "select username, account_id, device_id from location order by 1"
        expected = [("idris", "izmir.example", "idris"), ("info", "info.example", "info")]
        assert stock.execute(rows).fetchall() == expected
        run("check", url=kamdbctl_url)
        run("uninstall", "--yes", url=kamdbctl_url)
        left = stock.execute("select indexname from pg_indexes where tablename = 'subscriber' order by 1").fetchall()
        assert left == [("subscriber_account_idx",), ("subscriber_pkey",), ("subscriber_username_idx",)]


def test_names_that_the_locale_takes_for_one_are_two(database: psycopg.Connection, add_binding: AddBinding) -> None:
    """Outside ASCII case matters, as in usrloc: Ö and ö are two phones, and so are i with and without its dot."""
    for username in ("ö", "Ö", "\u0131", "i"):
        add_binding(username, REALM)
    rows = database.execute("select sip_lower(username) from registrations where account_id = 'info'").fetchall()
    assert len(set(rows)) == 4


def test_a_contact_in_capital_letters_is_a_sip_uri(database: psycopg.Connection, add_binding: AddBinding) -> None:
    """Schemes and parameters of SIP are ASCII as well (RFC 3261 section 25.1)."""
    add_binding("info", REALM, contact="SIP:info@192.0.2.1:5070;TRANSPORT=TLS", received=None, socket="TCP:[::1]:5060")
    query = "select contact_ip, contact_port, proxy_ip, sip_uri_transport(contact) from registrations"
    assert database.execute(query).fetchall() == [("192.0.2.1", "5070", "[::1]", "tls")]


def test_an_import_refuses_two_devices_of_one_name(
    database: psycopg.Connection, database_url: str, tmp_path: Path
) -> None:
    """It refuses them both within a file and between a file and the database."""
    for other in ("INFO", "info"):
        rows = [{"id": other, "account_id": "info", "sip_username": "info"}]
        rows += [{"id": "again", "account_id": "info", "sip_username": "Info"}] if other == "info" else []
        (tmp_path / "more.json").write_text(json.dumps({"devices": rows}))
        assert "sip_username" in run("import", str(tmp_path / "more.json"), url=database_url, status=1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("insert into device (id, account_id, sip_username) values ('x', 'info', 'info')")


def test_commands_know_every_form_of_time(database: psycopg.Connection, database_url: str) -> None:
    """The worker, lists, `check`, another `migrate` and `uninstall` read every time format."""
    assert "reconciled: 0" in run("once", url=database_url, command="registrations-sync")
    said = run("check", url=database_url, status=2, command="registrations-sync")
    assert "node_unreachable" in said
    token = run("token", "create", "info", "--idle-lifetime", "3600", url=database_url).splitlines()[0]
    assert len(token) == 64
    assert "expires after 1:00:00 without use" in run("token", "list", url=database_url)
    run("check", url=database_url)
    assert run("migrate", "--dry-run", url=database_url) == "the schema is current\n"
    run("uninstall", "--yes", url=database_url)
    assert database.execute("select to_regclass('account'), to_regproc('sip_lower')").fetchone() == (None, None)


def test_devices_are_found_by_an_index(database: psycopg.Connection) -> None:
    """The index is used for a phone's row, and for an operator who queries the directory."""
    database.execute(
        "insert into device (id, account_id, sip_username) "
        "select n::text, 'info', 'I' || n from generate_series(1, 5000) n"
    )
    database.execute(
        "insert into location (ruid, username, domain) select 'r' || n, 'i' || n, %s from generate_series(1, 5000) n",
        (REALM,),
    )
    database.execute("analyze")
    plan = explained(database, f"select * from directory where username = 'i7' and realm = '{REALM}'")
    assert rows_read(plan, relation="device") == 1
    enrich = statement("enrich_pending").replace("%(after)s", "0").replace("%(limit)s", "10")
    assert rows_read(explained(database, enrich), relation="device") <= 2 * 10


def test_a_directory_of_the_operators_is_told_of_lower(kamdbctl_url: str) -> None:
    """`check` warns about an operator's directory view with lower(), if the locale makes a difference."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as operator:
        turkish = operator.execute("select lower('I') <> 'i'").fetchone() == (True,)
        run("migrate", url=kamdbctl_url)
        row = operator.execute("select pg_get_viewdef('directory_of_subscriber'::regclass)").fetchone()
        assert row is not None
        operator.execute(f"create or replace view directory as {row[0]}".encode())
        assert "directory_lower" not in run("check", url=kamdbctl_url)
        operator.execute(f"create or replace view directory as {row[0].replace('sip_lower', 'lower')}".encode())
        said = run("check", url=kamdbctl_url, status=2 if turkish else 0)
        assert ("directory_lower" in said) is turkish


def test_sessions_of_a_pooler_are_set_too(
    postgres: Cluster, database: psycopg.Connection, database_url: str, tmp_path: Path
) -> None:
    """In session mode the settings hold for each client. Transaction mode is refused for that reason alone."""
    for mode in ("session", "transaction"):
        with pgbouncer(tmp_path / mode, postgres, pool_mode=mode) as port:
            url = f"postgresql://postgres@127.0.0.1:{port}/{database.info.dbname}"
            settings = DatabaseSettings(database_url=url)
            if mode == "transaction":
                with pytest.raises(SessionShared):
                    open_connection(settings, application_name="test")
                return
            for _ in range(3):
                with open_connection(settings, application_name="test") as connection:
                    row = connection.execute("select now() > '2020-01-01', interval '1 day', 1 / 3::float8").fetchone()
                    assert row is not None
                    assert str(row[1]) == "1 day, 0:00:00"
                    assert row[2] == 1 / 3
