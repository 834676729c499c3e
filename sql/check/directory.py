"""Checks of the directory: ambiguous AoRs and realms, and devices that are not registered."""

from collections.abc import Iterator
from typing import Any

import psycopg

from sql.connections.database import Connection
from sql.console.finding import Finding, Severity, passed
from sql.statements import statement

SHOWN = 5


def check_directory(connection: Connection) -> Iterator[Finding]:
    """Look for ambiguous rows, and for devices without a registration.

    Args:
        connection: in autocommit mode. Its statement timeout applies, since an operator's own view may be slow.
    """
    aors = _ask(connection, "check_ambiguous_aors")
    realms = _ask(connection, "check_ambiguous_realms")
    silent = _ask(connection, "check_silent_devices")
    if aors:
        yield Finding(
            "ambiguous_aor",
            Severity.FAULT,
            f"the directory has several rows for {_shown(aors)}",
            "a registration goes to one device or the other, and may change with every comparison",
            "make the view `directory` return one row for each username and realm",
        )
    if realms:
        yield Finding(
            "ambiguous_realm",
            Severity.FAULT,
            f"several accounts have the realm {_shown(realms)}",
            "a registration without a device goes to one account or the other",
            "give each account a realm of its own",
        )
    if aors == [] and realms == []:
        yield passed("directory", "each AoR belongs to one device, each realm to one account")
    for (view,) in connection.execute(statement("check_own_lower")):
        yield Finding(
            "directory_lower",
            Severity.FAULT,
            f"your view {view} uses lower(), which does not turn I into i in the locale of this database",
            "usrloc writes i: a device with an I in its name has no registration, and is not flushed when disabled",
            f"use sip_lower() in place of lower() in the view {view}, and in the indexes that it needs",
        )
    if silent:
        count, devices = silent[0]
        if count:
            yield Finding(
                "devices_silent",
                Severity.NOTE,
                f"{count} of {devices} enabled devices are not registered",
                "these phones were never set up, or cannot register; whether they ever were is unknown",
                "list them: select account_id, username, realm from report_device where enabled and not registered",
            )
        else:
            yield passed("devices_silent", f"all {devices} enabled devices are registered")
    if None in (aors, realms, silent):
        yield Finding(
            "directory_slow",
            Severity.NOTE,
            "the directory takes longer than REGISTRATIONS_DATABASE_STATEMENT_TIMEOUT, so part of it was not checked",
            "ambiguous rows and devices without a registration may be overlooked",
            "if `directory` is your own view, index what it reads by username and realm; or allow more time",
        )


def _ask(connection: Connection, name: str) -> list[tuple[Any, ...]] | None:
    try:
        return connection.execute(statement(name), {"limit": SHOWN + 1}).fetchall()
    except psycopg.errors.QueryCanceled:
        return None


def _shown(rows: list[tuple[Any, ...]]) -> str:
    names = ", ".join(str(row[0]) for row in rows[:SHOWN])
    return names + (" and more" if len(rows) > SHOWN else "")
