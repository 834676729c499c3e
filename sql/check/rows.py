"""Checks of usrloc's rows: their times, and what they lack. Reads slices, so that no statement takes long."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from time import monotonic

from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, passed
from sql.schema.record import MIGRATE_COMMAND
from sql.statements import statement

SLICE_ROWS = 5000
# For all slices together; a finding says so if that was not enough.
LOOK_SECONDS = 20.0
# Kamailio writes last_modified when a phone registers. So the newest one is never more than moments ahead of the clock,
# and a new row is never much older than its creation: usrloc's timer in db_mode 2 is the longest delay.
CLOCK_TOLERANCE_SECONDS = 120
# A running Kamailio removes expired rows at its next timer. If all rows expired long ago, none runs.
OVERDUE_SECONDS = 900
COUNT_LIMIT = 100_000


@dataclass(slots=True, kw_only=True)
class Rows:
    """Sums over slices. Seconds are None if there is nothing to measure.

    Attributes:
        ahead_seconds: how far the newest REGISTER lies in the future.
        behind_seconds: how much older new rows are than their creation; the minimum.
        overdue_seconds: since the last row expired.
    """

    last: int | None = 0
    rows: int = 0
    live: int = 0
    without_realm: int = 0
    without_account: int = 0
    without_device: int = 0
    ahead_seconds: float | None = None
    behind_seconds: float | None = None
    overdue_seconds: float | None = None

    def add(self, more: "Rows") -> None:
        """Add another slice."""
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(more, each.name)
            if its is None or mine is None:
                setattr(self, each.name, mine if its is None else its)
            elif isinstance(its, int) and each.name != "last":
                setattr(self, each.name, mine + its)
            else:
                # The newest row is the farthest ahead. A single row that is not late, or not expired, is enough.
                setattr(self, each.name, max(mine, its) if each.name in {"last", "ahead_seconds"} else min(mine, its))


def _look(connection: Connection) -> tuple[Rows, bool]:
    seen, deadline = Rows(), monotonic() + LOOK_SECONDS
    with connection.cursor(row_factory=class_row(Rows)) as cursor:
        while monotonic() < deadline:
            values = {"after": seen.last, "limit": SLICE_ROWS}
            found = cursor.execute(statement("check_rows"), values).fetchone()
            if found is None or found.last is None:
                return seen, True
            seen.add(found)
    return seen, False


def check_rows(connection: Connection, *, timezone: str | None) -> Iterator[Finding]:
    """Check every row, for at most twenty seconds.

    Args:
        connection: in autocommit mode.
        timezone: Kamailio's time zone, as set; None if rows hold epoch seconds.
    """
    seen, complete = _look(connection)
    if not complete:
        yield Finding(
            "rows",
            Severity.NOTE,
            f"only the {seen.rows} oldest rows were checked, for {LOOK_SECONDS:g} seconds",
            "the other findings about rows are about these",
            "none, or try again when PostgreSQL is less busy",
        )
    else:
        yield passed("rows", f"{seen.rows} rows, {seen.live} of them registered now")
    yield _check_clock(seen, timezone=timezone)
    yield from _check_bindings(seen)


def _check_clock(seen: Rows, *, timezone: str | None) -> Finding:
    ahead, behind = seen.ahead_seconds or 0, seen.behind_seconds or 0
    off = ahead if ahead > CLOCK_TOLERANCE_SECONDS else -behind if behind > CLOCK_TOLERANCE_SECONDS else 0
    amount = f"{abs(off) / 3600:.1f} hours" if abs(off) > 3600 else f"{abs(off):.0f} seconds"
    if off:
        where = f"lies {amount} in the future" if off > 0 else f"was {amount} old when it was written"
        clocks = ": the clocks of Kamailio and PostgreSQL differ, or were set back"
        zone = f": Kamailio does not run in {timezone}" if timezone else clocks
        return Finding(
            "clock",
            Severity.FAULT,
            f"the newest registration {where}{zone}",
            "lists show phones that are gone or hide registered ones, and a flush takes new bindings for old ones",
            f"set REGISTRATIONS_KAMAILIO_TIMEZONE to Kamailio's zone and run `{MIGRATE_COMMAND}`"
            if timezone
            else "synchronise the clocks of both machines with NTP",
        )
    if (seen.overdue_seconds or 0) > OVERDUE_SECONDS:
        zone = (
            f"Kamailio does not run in {timezone} (REGISTRATIONS_KAMAILIO_TIMEZONE), or it" if timezone else "Kamailio"
        )
        return Finding(
            "clock",
            Severity.FAULT,
            f"every registration seems expired, the last one {(seen.overdue_seconds or 0) / 3600:.1f} hours ago: "
            f"{zone} does not run, or its usrloc does not clean the table",
            "lists are empty",
            "check that Kamailio runs, in which zone, and with usrloc's db_timer_clean=1 as in registrations.cfg",
        )
    return passed("clock", "the times in new rows agree with PostgreSQL's clock")


def _check_bindings(seen: Rows) -> Iterator[Finding]:
    if seen.without_realm:
        yield Finding(
            "no_realm",
            Severity.FAULT,
            f"{seen.without_realm} registrations have no domain, and no default realm applies",
            "they are in no account's list and cannot be flushed",
            f"set REGISTRATIONS_KAMAILIO_DEFAULT_REALM and run `{MIGRATE_COMMAND}`",
        )
    if seen.without_account:
        yield Finding(
            "no_account",
            Severity.WARNING,
            f"{seen.without_account} registrations have a realm that belongs to no account, and no device",
            "they are in no account's list and cannot be flushed",
            "add the account to the directory, or find out why Kamailio accepts them",
        )
    if seen.without_device:
        yield Finding(
            "no_device",
            Severity.NOTE,
            f"{seen.without_device} registrations have an account but no device",
            "the account's list shows them without device and owner, and no change of a device affects them",
            "add the devices to the directory, or find out why Kamailio accepts them",
        )
    if seen.live and not (seen.without_realm or seen.without_account or seen.without_device):
        yield passed("bindings", "every registration has an account and a device")


def find_server_ids(connection: Connection) -> dict[int, int]:
    """The number of rows by server_id, counted up to `COUNT_LIMIT` each."""
    found = connection.execute(statement("check_server_ids"), {"limit": COUNT_LIMIT}).fetchall()
    return {row[0]: row[1] for row in found}
