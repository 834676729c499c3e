"""Ids beyond the range of integer, at a real proxy on a database of kamdbctl."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from sql.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.site import StartSite
from tests.fixtures.worker import StartJobs

BEYOND_INTEGER = 3_000_000_000
TABLE = {"KAMAILIO_SUBSCRIBER_TABLE": "directory_subscriber"}


@pytest.fixture
def database(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """The operator widened the column before he installed us."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute("alter table location alter id type bigint")
        connection.execute(f"alter sequence location_id_seq as bigint restart with {BEYOND_INTEGER}")
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        yield connection


@pytest.mark.parametrize("db_mode", [1, 3])
def test_a_table_that_the_operator_widened(start_site: StartSite, start_jobs: StartJobs, db_mode: int) -> None:
    """List, pages, count, CSV, worker and flush know ids beyond 2^31."""
    site = start_site(db_mode=db_mode, expires_type=0, environment=TABLE)
    phones = [site.phone(contact=f"sip:alice@192.0.2.7:{port}") for port in (5060, 5061, 5062)]
    assert {phone.register().status for phone in phones} == {200}
    assert len(site.shown()) == 3
    jobs = start_jobs()
    assert jobs.enrich() == {"enriched": 3}
    site.database.execute("insert into subscriber (username, domain) values ('alice', 'reseller.test')")
    assert jobs.reconcile()["reconciled"] == 3
    rows = site.database.execute("select id, device_id from location order by id").fetchall()
    assert rows == [(BEYOND_INTEGER + number, "alice") for number in range(3)]
    first = site.ask("GET", "?page_size=2")
    second = site.ask("GET", f"?page_size=2&start_key={first['next_start_key']}")
    assert [each["contact"] for each in first["data"] + second["data"]] == [phone.contact for phone in reversed(phones)]
    site.flush("alice", expected=3)
