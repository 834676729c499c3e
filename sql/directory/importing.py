"""Importing a directory: files into temporary tables by COPY, checks across rows as sets, then the writes.

All in one transaction, which one import at a time has. What a value alone can tell is checked in directory_rules.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, LiteralString, TypeVar

import psycopg

from sql.connections.database import Connection
from sql.directory.files import DirectoryFiles
from sql.directory.problems import Problems, located, shown
from sql.directory.rows import KINDS, Account, Device, Owner
from sql.directory.subscribers import leave_subscriber, make_room
from sql.directory.writing import ImportCounts, write_directory
from sql.errors import DatabaseUnreachable, DirectoryRefused, translated
from sql.schema.search_path import refuse_planted
from sql.statements import statement

LOCK_SECONDS = 60
PROGRESS_SECONDS = 5.0
DELETE_AT_MOST = 20
FEW_ROWS = 10

# By the name that the statements import_*_problems give them.
_MESSAGES = {
    "id_twice": "{value} is given twice{where}",
    "realm_twice": "{value} is the realm of account {other}, too{where}",
    "realm_of_device": "{value} is the sip_realm of device {other}, which is another account's",
    "no_right_to_give": "role {other} may not change this of account {value}: import it once as the owner of the table "
    "account, or leave it out",
    "api_key_twice": "account {other} has the same{where}",
    "no_parent": "there is no account {value}",
    "own_ancestor": "account {value} would be its own ancestor",
    "no_account": "there is no account {value}",
    "owner_has_device": "device {other} belongs to {value}; it must move to this account in the same import",
    "no_owner": "there is no owner {value}",
    "owner_of_another": "owner {value} belongs to account {other}{where}",
    "realm_of_account": "{value} is the realm of account {other}{where}",
    "aor_twice": "device {other} has {value}, too{where}",
    "ha1_void": "device {other} was {value}, so its stored ha1 is void: give a new password or ha1",
    "ha1_void_elsewhere": "device {other} was {value}, so its stored ha1 is void: import it with a new password or ha1",
}

Row = TypeVar("Row")


def import_directory(
    connection: Connection,
    files: Sequence[str],
    *,
    replace: bool = False,
    delete_at_most: int = DELETE_AT_MOST,
    may_empty: bool = True,
    report: Callable[[str], None],
) -> ImportCounts:
    """Bring accounts, owners and devices to what the files say.

    What a file does not say of a row stays as it is, or is the default of a new row. A second import of the same
    files writes nothing.

    Args:
        connection: in autocommit mode, as a role that may write the tables. Only one that may write the columns
            superduper_admin and api_key_hash can change these.
        files: one JSON, or up to three CSV, whose headers tell accounts, owners and devices.
        replace: the files are the whole directory: what they do not have is deleted.
        delete_at_most: percent of the accounts, of the owners and of the devices; files that would delete more are not
            believed. A handful may always go.
        may_empty: whether that holds of the last ones of a kind, too; else they go only with 100 percent.
        report: called with a line now and then.

    Raises:
        DirectoryRefused: something is wrong with the files; nothing was written.
        DatabaseUnreachable: PostgreSQL is away, or others hold the tables for too long; nothing was written.
        SchemaRefused: another role could have this session run its code.
        StatementFailed: the role lacks a grant.
    """
    problems = Problems()
    with translated(), DirectoryFiles(files, problems) as directory:
        problems.refuse_any()
        refuse_planted(connection)
        missing = [f"{kind}s" for kind in KINDS if kind not in directory.names]
        if replace and missing:
            raise DirectoryRefused([f"to replace the whole directory, give {' and '.join(missing)}, too"])
        with connection.transaction():
            _take_locks(connection)
            tokens = _read(connection, directory, replace=replace, report=report)
            report("checking")
            rights = _may_give_rights(connection)
            _check(connection, directory, problems, replace=replace, rights=rights)
            problems.refuse_any()
            if replace:
                _refuse_losses(connection, delete_at_most, may_empty=may_empty)
            counts = write_directory(connection, replace=replace, rights=rights, report=report)
            leave_subscriber(connection)
            return dataclasses.replace(counts, tokens_deleted=counts.tokens_deleted + tokens)


def _take_locks(connection: Connection) -> None:
    connection.execute(statement("import_limits"), {"lock_timeout": f"{LOCK_SECONDS}s"})
    try:
        connection.execute(statement("import_lock"))
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnreachable(
            f"another import, or another session that writes the directory, did not end within {LOCK_SECONDS} seconds; "
            "see pg_locks, then try again"
        ) from error


def _read(connection: Connection, directory: DirectoryFiles, *, replace: bool, report: Callable[[str], None]) -> int:
    def rows_of(kind: str, rows: Iterator[Row]) -> Iterator[Row]:
        return _watched(rows, kind, directory.names[kind], report=report) if kind in directory.names else rows

    connection.execute(statement("import_account_table"))
    connection.execute(statement("import_owner_table"))
    connection.execute(statement("import_device_table"))
    accounts = (_account_row(account) for account in rows_of("account", directory.accounts()))
    _copy(connection, statement("import_account_copy"), accounts)
    owners = (_owner_row(owner) for owner in rows_of("owner", directory.owners()))
    _copy(connection, statement("import_owner_copy"), owners)
    connection.execute(statement("import_analyze_accounts"))
    tokens_deleted = make_room(connection)
    connection.execute(statement("import_account_after"), {"replace": replace})
    connection.execute(statement("import_owner_after"), {"replace": replace})
    realms = _Realms(connection)
    devices = (_device_row(device, realms.of(device)) for device in rows_of("device", directory.devices()))
    _copy(connection, statement("import_device_copy"), devices)
    connection.execute(statement("import_analyze_devices"))
    connection.execute(statement("import_device_after"), {"replace": replace})
    connection.execute(statement("import_analyze_after"))
    return tokens_deleted


class _Realms:
    """Which realm a device has: the hash of a password needs it, and passwords do not go to the database."""

    def __init__(self, connection: Connection) -> None:
        self._of_accounts: dict[str, str] = dict(connection.execute(statement("import_account_realms")))
        # Needed for the devices whose sip_realm the file does not tell.
        self._of_devices: dict[str, str] = dict(connection.execute(statement("import_sip_realms")))

    def of(self, device: Device) -> str:
        """The realm, or "" when there is no such account, which the checks will find."""
        sip_realm = self._of_devices.get(device.id) if device.sip_realm is None else device.sip_realm
        return sip_realm or self._of_accounts.get(device.account_id, "")


def _account_row(account: Account) -> tuple[Any, ...]:
    at, places = account.at, account.places
    return (
        account.id,
        account.parent_id,
        account.name,
        account.realm,
        account.enabled,
        account.superduper_admin,
        account.api_key_hash,
        places.get("id", at),
        places.get("parent_id"),
        places.get("realm", at),
        places.get("superduper_admin"),
        account.api_key_at,
    )


def _owner_row(owner: Owner) -> tuple[Any, ...]:
    at, places = owner.at, owner.places
    return (owner.id, owner.account_id, owner.name, places.get("id", at), places.get("account_id", at))


def _device_row(device: Device, realm: str) -> tuple[Any, ...]:
    at, places = device.at, device.places
    return (
        device.id,
        device.account_id,
        device.owner_id,
        device.name,
        device.sip_username,
        device.sip_realm,
        device.hash_for(realm),
        device.enabled,
        device.presence_id,
        device.suppress_unregister_notify,
        device.register_overwrite_notify,
        places.get("id", at),
        places.get("account_id", at),
        places.get("owner_id"),
        places.get("sip_username", at),
        places.get("sip_realm"),
    )


def _copy(connection: Connection, copy_statement: LiteralString, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(copy_statement) as copy:
        for row in rows:
            copy.write_row(row)


def _watched(rows: Iterator[Row], kind: str, file: str, *, report: Callable[[str], None]) -> Iterator[Row]:
    """Pass the rows on, and say every few seconds how many there were."""
    due = monotonic() + PROGRESS_SECONDS
    count = 0
    for count, row in enumerate(rows, start=1):
        if count % 1000 == 0 and monotonic() >= due:
            report(f"{file}: {count:,} {kind}s so far")
            due = monotonic() + PROGRESS_SECONDS
        yield row
    report(f"{file}: {count:,} {kind}s")


def _may_give_rights(connection: Connection) -> bool:
    row = connection.execute(statement("import_may_give_rights")).fetchone()
    return bool(row and row[0])


def _check(
    connection: Connection, directory: DirectoryFiles, problems: Problems, *, replace: bool, rights: bool
) -> None:
    for name in (
        statement("import_account_problems"),
        statement("import_owner_problems"),
        statement("import_device_problems"),
    ):
        # A server-side cursor: with the wrong file of accounts there may be a million of them.
        with connection.cursor(name="import_problems") as cursor:
            cursor.execute(name, {"replace": replace, "may_give_rights": rights})
            for kind, field, at, problem, value, other, other_kind, other_at in cursor:
                where = "" if other_at is None else f" ({located(directory.names[other_kind], other_at)})"
                message = _MESSAGES[problem].format(value=shown(value or ""), other=shown(other or ""), where=where)
                problems.add(directory.names[kind], at, f"{field}: {message}")


def _refuse_losses(connection: Connection, percent: int, *, may_empty: bool) -> None:
    for kind, before, lost, left in connection.execute(statement("import_losses")):
        all_go = lost and not left and percent < 100 and not may_empty
        if all_go or lost > max(FEW_ROWS, before * percent / 100):
            share = f"{lost:,} of {before:,} {kind}s"
            raise DirectoryRefused([f"this would delete {share}, more than {percent} %: say so with --delete-at-most"])
