"""What `registrations-db check` looks at: is this database as the API and the worker need it?"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.rows import class_row

from sql.connections import Connection
from sql.migrate import MIGRATE_COMMAND, missing_migrations
from sql.statements import statement

# Kamailio writes last_modified as it registers, so the newest one is never more than moments ahead of the clock.
CLOCK_TOLERANCE_SECONDS = 120
# A Kamailio that runs removes what expired at its next timer, so rows that all expired long ago are nobody's.
OVERDUE_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the statement check_facts finds; seconds, and None where there is nothing to measure."""

    expires_type: str
    timezone: str
    ahead_seconds: float | None
    overdue_seconds: float | None
    invalid_indexes: list[str] | None
    refreshed_indexes: list[str] | None
    location_version: int | None
    realmless: int


def find_problems(connection: Connection) -> list[str]:
    """One line for each thing that is wrong, with its cure; none when all is well."""
    missing = missing_migrations(connection)
    if missing:
        return [f"the database lacks migrations ({', '.join(missing)}): run `{MIGRATE_COMMAND}`"]
    with connection.cursor(row_factory=class_row(_Facts)) as cursor:
        facts = cursor.execute(statement("check_facts")).fetchone()
    return list(_problems(facts)) if facts else []


def _problems(facts: _Facts) -> Iterator[str]:
    has_zone = facts.expires_type != "bigint"
    if facts.location_version != 9:
        yield f"version says that location is {facts.location_version}, not 9: Kamailio will not start"
    if has_zone and (facts.ahead_seconds or 0) > CLOCK_TOLERANCE_SECONDS:
        yield (
            f"the newest registration lies {(facts.ahead_seconds or 0) / 3600:.1f} hours in the future: Kamailio does "
            f"not run in {facts.timezone}; set REGISTRATIONS_KAMAILIO_TIMEZONE to its zone and run `{MIGRATE_COMMAND}`"
        )
    if (facts.overdue_seconds or 0) > OVERDUE_SECONDS:
        zone = f"Kamailio does not run in {facts.timezone} (REGISTRATIONS_KAMAILIO_TIMEZONE), or it"
        yield (
            f"every registration seems expired, the last one {(facts.overdue_seconds or 0) / 3600:.1f} hours ago: "
            f"{zone if has_zone else 'Kamailio'} does not run, or its usrloc does not clean the table (db_timer_clean)"
        )
    if facts.realmless:
        yield (
            f"{facts.realmless} registration(s) have no domain and are in no account's list: "
            f"set REGISTRATIONS_KAMAILIO_DEFAULT_REALM and run `{MIGRATE_COMMAND}`"
        )
    if facts.invalid_indexes:
        yield f"index {', '.join(facts.invalid_indexes)} is invalid: reindex it concurrently"
    if facts.refreshed_indexes:
        yield (
            f"index {', '.join(facts.refreshed_indexes)} covers a column that every refresh changes: "
            "drop it, or refreshes are no heap-only updates"
        )


def find_facts(connection: Connection) -> dict[str, str]:
    """Facts about the database for the operator's eye, by their names."""
    row = connection.execute(statement("check_summary")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has a row
    names = (
        "location rows",
        "not enriched",
        "accounts",
        "devices",
        "expires column",
        "kamailio time zone",
        "auth view",
    )
    return dict(zip(names, map(str, row), strict=True))
