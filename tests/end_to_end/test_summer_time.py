"""Kamailio writes its wall clock into TIMESTAMP columns, while summer time begins and ends.

The machine's clock does not change: the test makes a time zone in which summer begins or ends about now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.site import Site, StartSite
from tests.stand.memory import contacts

HOUR = timedelta(hours=1)
EXPIRES = 600

Start = Callable[[str], Site]


@pytest.fixture
def database(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A database of kamdbctl in place of one of ours."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def start(start_site: StartSite, database: psycopg.Connection) -> Start:
    """Start Kamailio in a zone (POSIX section 8.3) that the database knows too."""

    def started(zone: str) -> Site:
        database.execute(
            "create or replace function kamailio_timezone() returns text language sql immutable parallel safe "
            f"return '{zone}'::text"
        )
        table = {"KAMAILIO_SUBSCRIBER_TABLE": "directory_subscriber"}
        return start_site(timezone=zone, expires_type=0, environment=table)

    return started


def _zone(*, begins: datetime | None = None, ends: datetime | None = None) -> str:
    """Return a zone that is UTC plus an hour in summer. A begin or end that is not given is half a year away."""
    known = begins or ends
    assert known is not None
    begins, ends = begins or known - timedelta(days=180), ends or known + timedelta(days=180)

    def rule(at: datetime) -> str:
        leap = at.year % 4 == 0 and at.month > 2  # Jn does not count 29 February, so it is left out here
        return f"J{at.timetuple().tm_yday - leap}/{at:%H:%M:%S}"

    return f"WINTER0SUMMER-1,{rule(begins)},{rule(ends + HOUR)}"


def _truth(site: Site) -> datetime:
    """Return the expiry of alice's only binding in Kamailio's memory."""
    with site.proxy.rpc() as rpc:
        (contact,) = contacts(rpc, "alice@reseller.test")
    return datetime.now(UTC) + timedelta(seconds=int(contact["Expires"]))


def _told(site: Site) -> tuple[datetime, int]:
    row = site.database.execute("select expires_at, expires from registrations").fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("minutes", [-30, 5, 30], ids=["begun", "during the registration", "to come"])
def test_the_clock_is_set_forward(start: Start, minutes: int) -> None:
    """Before, during and after the change a registration shows its true expiry and lifetime, and can be flushed."""
    site = start(_zone(begins=datetime.now(UTC) + timedelta(minutes=minutes)))
    assert site.phone().register(EXPIRES).ok
    assert len(site.shown()) == 1
    expires_at, lifetime = _told(site)
    assert abs(expires_at - _truth(site)) <= timedelta(seconds=2)
    assert lifetime == EXPIRES
    site.flush("alice", expected=1)


def test_after_the_clock_was_set_back(start: Start) -> None:
    """In the second pass through the repeated hour all times are right."""
    site = start(_zone(ends=datetime.now(UTC) - timedelta(minutes=20)))
    assert site.phone().register(EXPIRES).ok
    assert len(site.shown()) == 1
    expires_at, lifetime = _told(site)
    assert abs(expires_at - _truth(site)) <= timedelta(seconds=2)
    assert lifetime == EXPIRES
    site.flush("alice", expected=1)


@pytest.mark.parametrize(
    ("minutes", "expires"),
    [(5, EXPIRES), (30, EXPIRES), (65, 3600)],
    ids=["during the registration", "in the same hour", "soon after"],
)
def test_before_the_clock_is_set_back(start: Start, minutes: int, expires: int) -> None:
    """In the first pass a registration may seem to last an hour longer, never shorter. It shows and can be flushed."""
    site = start(_zone(ends=datetime.now(UTC) + timedelta(minutes=minutes)))
    assert site.phone().register(expires).ok
    assert len(site.shown()) == 1
    late = _told(site)[0] - _truth(site)
    assert timedelta(seconds=-2) <= late <= HOUR + timedelta(seconds=2)
    site.flush("alice", expected=1)


def test_the_two_sundays_in_berlin(database: psycopg.Connection, database_url: str) -> None:
    """Times of Europe/Berlin are read correctly. In the repeated hour from 2 to 3 they count as the second pass."""
    migrate(DatabaseSettings(database_url=database_url, kamailio_timezone="Europe/Berlin"))
    # By `date -u -d 'TZ="Europe/Berlin" 2026-...' +%s`; the repeated hour by `date -u -d '2026-10-25 01:30 UTC' +%s`.
    for wall, epoch in (
        ("2026-03-29 01:59:59", 1774745999),
        ("2026-03-29 03:00:00", 1774746000),
        ("2026-10-25 01:59:59", 1792886399),
        ("2026-10-25 02:30:00", 1792891800),
        ("2026-10-25 03:00:00", 1792893600),
    ):
        assert database.execute("select registration_epoch(%s::timestamp)", (wall,)).fetchone() == (epoch,), wall
