"""IDs beyond the range of integer, and longer contacts, at a real proxy on a database of kamdbctl."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sql.kamailio_tables.widening import widen
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.end_to_end.test_odd_phones import configuration
from tests.fixtures.site import Site, StartSite
from tests.fixtures.worker import StartJobs, StartWorker
from tests.stand.phone import Fleet, Phone
from tests.stand.process import wait_until

BEYOND_INTEGER = 3_000_000_000
TABLE = {"KAMAILIO_SUBSCRIBER_TABLE": "directory_subscriber"}
WIDENED_BEFORE = f"""
alter table location alter id type bigint;
alter sequence location_id_seq as bigint restart with {BEYOND_INTEGER};
"""
OWN_VIEWS = """
create view my_phones as select id, username, contact from location;
create view my_report as select r.id, r.username, p.contact from registrations r join my_phones p on p.id = r.id;
grant select on my_report to registrations_report;
"""
# Enough rows that copying them takes a while. They belong to another node.
OTHERS = """
insert into location (ruid, username, domain, contact, expires, server_id)
select 'other-' || n, 'other' || n, 'other.test', 'sip:' || n, now() + interval '1 hour', 9
from generate_series(1, 20000) n
"""


@pytest.fixture
def database(request: pytest.FixtureRequest, kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A migrated database of kamdbctl, with the device alice. The parameter is SQL that the operator ran before."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(getattr(request, "param", ""))
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        connection.execute("insert into subscriber (username, domain) values ('alice', 'reseller.test')")
        yield connection


@pytest.mark.parametrize("database", [WIDENED_BEFORE], indirect=True, ids=["widened"])
@pytest.mark.parametrize("db_mode", [1, 3])
def test_a_table_that_the_operator_widened(start_site: StartSite, start_jobs: StartJobs, db_mode: int) -> None:
    """List, pages, count, CSV, worker and flush handle IDs beyond 2^31."""
    site = start_site(db_mode=db_mode, expires_type=0, environment=TABLE)
    phones = [site.phone(contact=f"sip:alice@192.0.2.7:{port}") for port in (5060, 5061, 5062)]
    assert {phone.register().status for phone in phones} == {200}
    assert len(site.shown()) == 3
    jobs = start_jobs()
    assert jobs.enrich() == {"enriched": 3}
    rows = site.database.execute("select id, device_id from location order by id").fetchall()
    assert rows == [(BEYOND_INTEGER + number, "alice") for number in range(3)]
    site.database.execute("delete from subscriber where username = 'alice'")
    assert jobs.reconcile() == {"reconciled": 3, "flushes_asked": 3}
    assert site.shown() == []
    assert {phone.register().status for phone in phones} == {200}
    first = site.ask("GET", "?page_size=2")
    second = site.ask("GET", f"?page_size=2&start_key={first['next_start_key']}")
    assert [each["contact"] for each in first["data"] + second["data"]] == [phone.contact for phone in reversed(phones)]
    site.flush("alice", expected=3)


@contextmanager
def _coming_and_going(phone: Phone) -> Iterator[None]:
    """Register and un-register a phone again and again. It must never be refused."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            assert phone.register().ok
            assert phone.unregister().ok

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(come_and_go)
        try:
            yield
        finally:
            over.set()
        coming.result()


def _ask_all(site: Site) -> None:
    """Request a list, a page, a count, and a sync of the device. None may fail."""
    site.ask("GET")
    site.ask("GET", "?page_size=2")
    site.ask("GET", "/count")
    headers = {"X-Auth-Token": site.directory.tokens["reseller"]}
    assert site.http.post("/v2/accounts/reseller/devices/alice/sync", headers=headers).status_code == 202


@pytest.mark.parametrize("db_mode", [1, 3])
def test_columns_are_widened_while_phones_register(
    start_site: StartSite,
    start_worker: StartWorker,
    database: psycopg.Connection,
    kamdbctl_url: str,
    tmp_path: Path,
    db_mode: int,
) -> None:
    """No REGISTER fails or waits half a second for a lock. API and worker keep their sessions, and views stay."""
    settings = DatabaseSettings(database_url=kamdbctl_url)
    database.execute(OWN_VIEWS + OTHERS)
    database.execute(f"alter role registrations_kamailio in database {database.info.dbname} set lock_timeout = '500ms'")
    longer = configuration(tmp_path, 'modparam("registrar", "contact_max_size", 1024)')
    site = start_site(db_mode=db_mode, expires_type=0, environment=TABLE, configuration=longer)
    worker = start_worker(REGISTRATIONS_KAMAILIO_RPC=site.proxy.rpc_url)
    staying = [site.phone(contact=f"sip:alice@192.0.2.7:{port}") for port in range(5060, 5066)]
    refused: list[str] = []
    fleet = Fleet(staying, every=0.05, on_error=lambda phone, error: refused.append(f"{phone}: {error}"))
    with fleet, _coming_and_going(site.phone(contact="sip:alice@192.0.2.7:5070")):
        fleet.wait_until_registered(30)
        for _ in range(6):  # from the fifth on psycopg keeps a statement prepared
            _ask_all(site)
        with ThreadPoolExecutor(1) as thread:
            for column, width in (("id", None), ("contact", 1024)):
                widening = thread.submit(widen, settings, column, width)
                while not widening.done():
                    _ask_all(site)
                assert widening.result()
        for _ in range(6):
            _ask_all(site)
        database.execute(f"select setval('location_id_seq', {BEYOND_INTEGER})")
        long = "sip:alice@192.0.2.7:5080;pn-prid=" + "x" * 600
        assert site.phone(contact=long).register().ok
        query = "select id > 2147483647 from location where device_id = 'alice' and contact = %s"
        wait_until(lambda: database.execute(query, (long,)).fetchone() == (True,), 20, "the worker to enrich it")
        assert long in {each["contact"] for each in site.ask("GET")["data"]}
        report = "select username from my_report where id > 2147483647 and contact = %s"
        assert database.execute(report, (long,)).fetchall() == [("alice",)]
    assert refused == []
    assert "lock timeout" not in site.proxy.log
    assert [each["contact"] for each in site.shown()] == [long]
    site.flush("alice", expected=1)
    assert worker.stop() == 0
    assert not [line for line in worker.log_text().splitlines() if "level=error" in line or "Traceback" in line]
