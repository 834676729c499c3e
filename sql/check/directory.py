"""What a check looks at in the directory: AoRs and realms that mean two things, devices that nobody registers."""

from collections.abc import Iterator
from typing import Any

import psycopg

from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, stands
from sql.statements import statement

SHOWN = 5


def check_directory(connection: Connection) -> Iterator[Finding]:
    """Look for what is ambiguous, and for devices without a registration.

    Args:
        connection: in autocommit mode; a view of the operator's may be slow, so its time limit for statements holds.
    """
    aors = _ask(connection, "check_ambiguous_aors")
    realms = _ask(connection, "check_ambiguous_realms")
    silent = _ask(connection, "check_silent_devices")
    if aors:
        yield Finding(
            "ambiguous_aor",
            Severity.FAULT,
            f"the directory has several rows for {_shown(aors)}",
            "a registration becomes that of one or the other device, and may change with every comparison",
            "let the view `directory` have one row for each username and realm",
        )
    if realms:
        yield Finding(
            "ambiguous_realm",
            Severity.FAULT,
            f"several accounts have the realm {_shown(realms)}",
            "a registration without a device becomes that of one or the other account",
            "give each account a realm of its own",
        )
    if aors == [] and realms == []:
        yield stands("directory", "each AoR is of one device, each realm of one account")
    for (view,) in connection.execute(statement("check_own_lower")):
        yield Finding(
            "directory_lower",
            Severity.FAULT,
            f"your view {view} uses lower(), which does not make an i of I in the locale of this database",
            "usrloc writes i: a device with an I in its name shows no registration, and is not flushed when disabled",
            f"let the view {view} use sip_lower() in place of lower(), and index what it reads by that",
        )
    if silent:
        count, devices = silent[0]
        if count:
            yield Finding(
                "devices_silent",
                Severity.NOTE,
                f"{count} of {devices} enabled devices are not registered",
                "phones that were never set up, or that cannot register; whether they ever were is not known",
                "see which: select account_id, username, realm from report_device where enabled and not registered",
            )
        else:
            yield stands("devices_silent", f"each of {devices} enabled devices has a registration")
    if None in (aors, realms, silent):
        yield Finding(
            "directory_slow",
            Severity.NOTE,
            "the directory takes longer than REGISTRATIONS_DATABASE_STATEMENT_TIMEOUT, so not all of it was looked at",
            "rows that mean two things, and devices without a registration, may be overlooked",
            "if `directory` is a view of yours, index what it reads by username and realm; or allow more time",
        )


def _ask(connection: Connection, name: str) -> list[tuple[Any, ...]] | None:
    try:
        return connection.execute(statement(name), {"limit": SHOWN + 1}).fetchall()
    except psycopg.errors.QueryCanceled:
        return None


def _shown(rows: list[tuple[Any, ...]]) -> str:
    names = ", ".join(str(row[0]) for row in rows[:SHOWN])
    return names + (" and more" if len(rows) > SHOWN else "")
