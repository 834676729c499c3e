"""What `registrations-db check` looks at: is this database as the API and the worker need it?"""

from sql.connections import Connection
from sql.migrate import MIGRATE_COMMAND, missing_migrations
from sql.statements import statement

# Kamailio writes last_modified as it registers, so the newest one is never more than moments ahead of the clock.
CLOCK_TOLERANCE_SECONDS = 120
# A Kamailio that runs removes what expired at its next timer, so rows that all expired long ago are nobody's.
OVERDUE_SECONDS = 900


def find_problems(connection: Connection) -> list[str]:
    """One line for each thing that is wrong, with its cure; none when all is well."""
    missing = missing_migrations(connection)
    if missing:
        return [f"the database lacks migrations ({', '.join(missing)}): run `{MIGRATE_COMMAND}`"]
    row = connection.execute(statement("check_facts")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT of aggregates has a row
    expires_type, timezone, ahead_seconds, invalid_indexes, expires_indexed, location_version, over_seconds = row
    problems = []
    if location_version != 9:
        problems.append(f"version says that location is {location_version}, not 9: Kamailio will not start")
    if expires_type != "bigint" and (ahead_seconds or 0) > CLOCK_TOLERANCE_SECONDS:
        problems.append(
            f"the newest registration lies {ahead_seconds / 3600:.1f} hours in the future: Kamailio does not run in "
            f"{timezone}; set REGISTRATIONS_KAMAILIO_TIMEZONE to its zone and run `{MIGRATE_COMMAND}`"
        )
    if (over_seconds or 0) > OVERDUE_SECONDS:
        zone = f"Kamailio does not run in {timezone} (REGISTRATIONS_KAMAILIO_TIMEZONE), or it"
        problems.append(
            f"every registration seems expired, the last one {over_seconds / 3600:.1f} hours ago: "
            f"{'Kamailio' if expires_type == 'bigint' else zone} does not run, "
            "or its usrloc does not clean the table (db_timer_clean)"
        )
    if invalid_indexes:
        problems.append(f"index {', '.join(invalid_indexes)} is invalid: reindex it concurrently")
    if expires_indexed:
        problems.append(
            f"index {', '.join(expires_indexed)} covers a column that every refresh changes: "
            "drop it, or refreshes are no heap-only updates"
        )
    return problems


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
