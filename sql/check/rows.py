"""What a check looks at in usrloc's rows: their clock, what they lack. In slices, so that no statement lasts."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from time import monotonic

from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, stands
from sql.schema.migrate import MIGRATE_COMMAND
from sql.statements import statement

SLICE_ROWS = 5000
# All slices together; what is not looked at by then is told.
LOOK_SECONDS = 20.0
# Kamailio writes last_modified as it registers, so the newest one is never more than moments ahead of the clock, and no
# row is much older than its making: usrloc's timer, in db_mode 2, is the longest that lies between.
CLOCK_TOLERANCE_SECONDS = 120
# A Kamailio that runs removes what expired at its next timer, so rows that all expired long ago are nobody's.
OVERDUE_SECONDS = 900
COUNT_LIMIT = 100_000


@dataclass(slots=True, kw_only=True)
class Rows:
    """Sums over slices; seconds are None where there is nothing to measure.

    Attributes:
        ahead_seconds: by which the newest REGISTER lies in the future.
        behind_seconds: by which new rows are older than their making, the least of those.
        overdue_seconds: since the last of the rows expired.
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
        """Take another slice in."""
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(more, each.name)
            if its is None or mine is None:
                setattr(self, each.name, mine if its is None else its)
            elif isinstance(its, int) and each.name != "last":
                setattr(self, each.name, mine + its)
            else:
                # The newest one is the farthest ahead, but it takes just one that is not behind, or not expired.
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
    """Look at every row, for twenty seconds at the most.

    Args:
        connection: in autocommit mode.
        timezone: in which Kamailio is said to run; None where rows hold epoch seconds.
    """
    seen, complete = _look(connection)
    if not complete:
        yield Finding(
            "rows",
            Severity.NOTE,
            f"only the {seen.rows} oldest rows were looked at, for {LOOK_SECONDS:g} seconds",
            "what is said of rows is said of these",
            "nothing, or try again when PostgreSQL has less to do",
        )
    else:
        yield stands("rows", f"{seen.rows} rows, {seen.live} of them registered now")
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
            "lists show phones that are gone, or hide phones that are there, and a flush takes new for old",
            f"set REGISTRATIONS_KAMAILIO_TIMEZONE to Kamailio's zone and run `{MIGRATE_COMMAND}`"
            if timezone
            else "let NTP set the clocks of both machines",
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
            "see whether Kamailio runs, in which zone, and with usrloc's db_timer_clean=1, as in registrations.cfg",
        )
    return stands("clock", "the times in fresh rows agree with PostgreSQL's clock")


def _check_bindings(seen: Rows) -> Iterator[Finding]:
    if seen.without_realm:
        yield Finding(
            "no_realm",
            Severity.FAULT,
            f"{seen.without_realm} registrations have no domain, and there is no realm that is theirs",
            "they are in no account's list and cannot be flushed",
            f"set REGISTRATIONS_KAMAILIO_DEFAULT_REALM and run `{MIGRATE_COMMAND}`",
        )
    if seen.without_account:
        yield Finding(
            "no_account",
            Severity.WARNING,
            f"{seen.without_account} registrations have a realm that is no account's, and no device",
            "they are in no account's list and cannot be flushed",
            "add the account to the directory, or find out why Kamailio lets them register",
        )
    if seen.without_device:
        yield Finding(
            "no_device",
            Severity.NOTE,
            f"{seen.without_device} registrations have an account but no device",
            "they are in its list without a device and an owner, and follow no change of a device",
            "add the devices to the directory, or find out why Kamailio lets them register",
        )
    if seen.live and not (seen.without_realm or seen.without_account or seen.without_device):
        yield stands("bindings", "every registration has its account and its device")


def find_server_ids(connection: Connection) -> dict[int, int]:
    """The server_ids that rows have, with how many rows, which are counted to a hundred thousand."""
    found = connection.execute(statement("check_server_ids"), {"limit": COUNT_LIMIT}).fetchall()
    return {row[0]: row[1] for row in found}
