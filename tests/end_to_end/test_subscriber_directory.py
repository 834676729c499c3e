"""A database of kamdbctl without our directory: subscribers are the devices, their domains the accounts."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartJobs
from tests.stand.kamailio import Proxy, without_authentication
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster

COMMAND = Path(sys.executable).parent / "registrations-db"
StartPhone = Callable[..., Phone]
Ask = Callable[..., Any]


@pytest.fixture
def database(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A migrated database with the users of `kamctl add`."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        for username, domain in (("alice", "example.com"), ("Bob", "example.com"), ("carol", "example.net")):
            subscribe(connection, username, domain)
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        connection.execute("grant registrations_kamailio to kamailio")
        yield connection


def subscribe(connection: psycopg.Connection, username: str, domain: str) -> None:
    """Insert what `kamctl add` writes. The password is secret."""
    ha1 = hashlib.md5(f"{username}:{domain}:secret".encode(), usedforsecurity=False).hexdigest()
    connection.execute("insert into subscriber (username, domain, ha1) values (%s, %s, %s)", (username, domain, ha1))


@pytest.fixture
def start_registrar(
    start_kamailio: StartKamailio, database: psycopg.Connection, postgres: Cluster
) -> Callable[..., Proxy]:
    """Start a proxy on the stock tables, as the stock user."""

    def start(**options: Any) -> Proxy:
        url = postgres.kamailio_url(database.info.dbname, user="kamailio")
        return start_kamailio(database_url=url, expires_type=0, **options)

    return start


@pytest.fixture
def start_phone() -> Iterator[StartPhone]:
    """Start phones and register them."""
    with ExitStack() as phones:

        def start(registrar: Proxy, username: str, realm: str, password: str = "secret") -> Phone:
            phone = phones.enter_context(Phone(username, realm, password, proxy=registrar.sip))
            assert phone.register(300).status == 200
            return phone

        yield start


def run(database: psycopg.Connection, postgres: Cluster, *arguments: str) -> str:
    """Run the operator's command, which must succeed, and return its output."""
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": postgres.url(database.info.dbname)}
    done = subprocess.run(
        [COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(client: FlaskClient, token: str, path: str, method: str = "GET", accept: str = "application/json") -> Any:
    """Return the answer's data, or its text if that is CSV."""
    response = client.open(f"/v2/accounts/{path}", method=method, headers={"X-Auth-Token": token, "Accept": accept})
    assert response.status_code == 200, response.text
    return response.text if accept == "text/csv" else response.get_json()["data"]


def users(listed: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((each["username"], each["authorizing_id"]) for each in listed)


def test_list_count_flush_status_and_csv_work_with_nothing_but_migrate_and_a_token(
    database: psycopg.Connection,
    postgres: Cluster,
    start_registrar: Callable[..., Proxy],
    start_api: StartApi,
    start_jobs: StartJobs,
    start_phone: StartPhone,
) -> None:
    """Before and after enrichment each domain has its own phones, and each phone has its username as device."""
    registrar = start_registrar()
    client = start_api(kamailio_rpc=registrar.rpc_url)
    token = run(database, postgres, "token", "create", "example.com").strip()
    for username, realm in (("alice", "example.com"), ("Bob", "example.com"), ("carol", "example.net")):
        start_phone(registrar, username, realm)
    for look in ("before the worker", "after it"):
        listed = ask(client, token, "example.com/registrations")
        assert users(listed) == [("alice", "alice"), ("bob", "bob")], look
        assert ask(client, token, "example.com/registrations/count") == {"count": 2}, look
        lines = csv.DictReader(io.StringIO(ask(client, token, "example.com/registrations", accept="text/csv")))
        assert sorted(line["authorizing_id"] for line in lines) == ["alice", "bob"], look
        statuses = ask(client, token, "example.com/devices/status")
        assert sorted(each["device_id"] for each in statuses) == ["alice", "bob"], look
        devices = ask(client, token, "example.com/devices?ascending=true")
        assert [(each["id"], each["name"]) for each in devices] == [("alice", "alice"), ("bob", "Bob")], look
        assert ask(client, token, "example.com/devices/bob")["sip"] == {"username": "bob", "realm": "example.com"}
        assert start_jobs().enrich() == {"enriched": 3 if look == "before the worker" else 0}
    refused = client.get("/v2/accounts/example.net/registrations", headers={"X-Auth-Token": token})
    assert refused.status_code == 403
    assert ask(client, token, "example.com/registrations/ALICE", "DELETE") == "ok"
    assert users(ask(client, token, "example.com/registrations")) == [("bob", "bob")]
    assert ask(client, token, "example.com/registrations", "DELETE") == "ok"
    assert ask(client, token, "example.com/registrations") == []
    assert database.execute("select username from location").fetchall() == [("carol",)]


def test_who_is_added_or_removed_by_kamctl_is_followed_without_a_command(
    database: psycopg.Connection,
    postgres: Cluster,
    start_registrar: Callable[..., Proxy],
    start_api: StartApi,
    start_jobs: StartJobs,
    start_phone: StartPhone,
) -> None:
    """The next comparison shows a new user of a new domain, and flushes a removed user."""
    registrar = start_registrar()
    client, jobs = start_api(kamailio_rpc=registrar.rpc_url), start_jobs(kamailio_rpc=registrar.rpc_url)
    subscribe(database, "dave", "example.org")
    start_phone(registrar, "dave", "example.org")
    jobs.enrich()
    assert jobs.reconcile() == {"accounts_made": 1, "reconciled": 1, "flushes_asked": 0}
    token = run(database, postgres, "token", "create", "example.org").strip()
    assert users(ask(client, token, "example.org/registrations")) == [("dave", "dave")]
    database.execute("delete from subscriber where username = 'dave'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}
    jobs.flush(0)
    assert database.execute("select count(*) from location").fetchone() == (0,)


def test_phones_that_nobody_asks_for_a_password_have_the_account_of_their_domain(
    database: psycopg.Connection,
    postgres: Cluster,
    start_registrar: Callable[..., Proxy],
    start_api: StartApi,
    start_jobs: StartJobs,
    start_phone: StartPhone,
    tmp_path: Path,
) -> None:
    """Without authentication, as in the stock configuration, phones need not be subscribers."""
    registrar = start_registrar(configuration=without_authentication(tmp_path))
    client, jobs = start_api(kamailio_rpc=registrar.rpc_url), start_jobs()
    start_phone(registrar, "guest", "Open.Example")
    jobs.enrich()
    assert jobs.reconcile()["accounts_made"] == 1
    token = run(database, postgres, "token", "create", "open.example").strip()
    assert users(ask(client, token, "open.example/registrations")) == [("guest", "")]
    assert ask(client, token, "open.example/registrations/guest", "DELETE") == "ok"
    assert database.execute("select count(*) from location").fetchone() == (0,)


def test_aors_without_a_domain_have_the_account_of_the_default_realm(
    database: psycopg.Connection,
    postgres: Cluster,
    kamdbctl_url: str,
    start_registrar: Callable[..., Proxy],
    start_api: StartApi,
    start_phone: StartPhone,
    tmp_path: Path,
) -> None:
    """The stock configuration has use_domain 0. The setting names the realm, and so the subscribers."""
    migrate(DatabaseSettings(database_url=kamdbctl_url, kamailio_default_realm="example.net"))
    configuration = without_authentication(tmp_path)
    registrar = start_registrar(configuration=configuration, environment={"KAMAILIO_USE_DOMAIN": "0"})
    client = start_api(kamailio_rpc=registrar.rpc_url)
    start_phone(registrar, "carol", "192.0.2.1")
    start_phone(registrar, "guest", "192.0.2.1")
    token = run(database, postgres, "token", "create", "example.net").strip()
    assert users(ask(client, token, "example.net/registrations")) == [("carol", "carol"), ("guest", "")]
    assert ask(client, token, "example.net/registrations", "DELETE") == "ok"
    assert database.execute("select count(*) from location").fetchone() == (0,)


def test_an_import_takes_over_and_flushes_nobody(
    database: psycopg.Connection,
    postgres: Cluster,
    start_registrar: Callable[..., Proxy],
    start_api: StartApi,
    start_jobs: StartJobs,
    start_phone: StartPhone,
    tmp_path: Path,
) -> None:
    """Afterwards the devices are those of the import. Its accounts replace those of the same realms; others stay."""
    registrar = start_registrar()
    client, jobs = start_api(kamailio_rpc=registrar.rpc_url), start_jobs(kamailio_rpc=registrar.rpc_url)
    for username, realm in (("alice", "example.com"), ("Bob", "example.com"), ("carol", "example.net")):
        start_phone(registrar, username, realm)
    jobs.enrich()
    tokens = {name: run(database, postgres, "token", "create", name).strip() for name in ("example.com", "example.net")}
    (tmp_path / "accounts.csv").write_text("id,name,realm\nacme,Acme,example.com\n")
    (tmp_path / "devices.csv").write_text("id,account_id,sip_username,password\ndesk,acme,alice,secret\n")
    said = run(database, postgres, "import", str(tmp_path / "accounts.csv"), str(tmp_path / "devices.csv"))
    assert "tokens deleted with their accounts: 1" in said
    assert "flushed" not in said
    tokens["acme"] = run(database, postgres, "token", "create", "acme").strip()
    jobs.reconcile()
    assert users(ask(client, tokens["acme"], "acme/registrations")) == [("alice", "desk"), ("bob", "")]
    assert users(ask(client, tokens["example.net"], "example.net/registrations")) == [("carol", "")]
    gone = client.get("/v2/accounts/example.com/registrations", headers={"X-Auth-Token": tokens["example.com"]})
    assert gone.status_code == 401
    assert database.execute("select count(*) from flush").fetchone() == (0,)
    subscribe(database, "late", "example.org")
    assert jobs.reconcile() == {"reconciled": 0, "flushes_asked": 0}
    # The directory is an ordinary one now: a removed device is flushed.
    database.execute("delete from device where id = 'desk'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}
