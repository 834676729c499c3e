"""Imports a directory: copies the files into temporary tables, checks rows against each other, then writes.

An import is one transaction, and only one runs at a time. The rules for single values are in `sql.directory.columns`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, LiteralString

import psycopg

from sql.connections.database import Connection
from sql.directory.columns import KINDS, Account, AnyRow, Device, Owner, read_row
from sql.directory.files import DirectoryFiles
from sql.directory.problems import Problems, Source, shown
from sql.directory.subscribers import leave_subscriber, make_room
from sql.directory.writing import ImportCounts, write_directory
from sql.errors import DatabaseUnreachable, DirectoryRefused, translated
from sql.schema.search_path import refuse_planted
from sql.statements import fetch_row, statement

LOCK_SECONDS = 60
PROGRESS_SECONDS = 5.0
DELETE_AT_MOST = 20
FEW_ROWS = 10


def import_directory(
    connection: Connection,
    files: Sequence[str],
    *,
    replace: bool = False,
    delete_at_most: int = DELETE_AT_MOST,
    may_empty: bool = True,
    report: Callable[[str], None],
) -> ImportCounts:
    """Make accounts, owners and devices as the files say.

    A field that a file does not have keeps its value, or gets the default in a new row. A second import of the same
    files writes nothing.

    Args:
        connection: in autocommit mode, of a role that may write the tables. To change superduper_admin or an API key
            it needs the privilege to write these columns.
        files: paths of one JSON file, or of up to three CSV files.
        replace: delete what the files do not have.
        delete_at_most: percent of the accounts, of the owners and of the devices. With `replace` the import is refused
            if it would delete more than that and more than ten.
        may_empty: allow an import to delete the last account, owner or device. If false, only 100 percent allows it.
        report: called with a line of progress every few seconds.

    Raises:
        DirectoryRefused: something is wrong with the files. Nothing was written.
        DatabaseUnreachable: PostgreSQL is unreachable, or others lock the tables for too long. Nothing was written.
        SchemaRefused: another role could make this session run its code.
        StatementFailed: the role lacks a privilege.
    """
    problems = Problems()
    with translated(), DirectoryFiles(files, problems) as directory:
        problems.refuse_any()
        refuse_planted(connection)
        missing = [f"{kind}s" for kind in KINDS if kind not in directory.sources]
        if replace and missing:
            raise DirectoryRefused([f"--replace needs {' and '.join(missing)}, too"])
        with connection.transaction():
            _take_locks(connection)
            tokens = _read(connection, directory, problems, replace=replace, report=report)
            if problems.rows_lost:  # other rows may refer to them
                problems.refuse_any()
            report("checking")
            (rights,) = fetch_row(connection, "import_may_give_rights")
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


def _read(
    connection: Connection,
    directory: DirectoryFiles,
    problems: Problems,
    *,
    replace: bool,
    report: Callable[[str], None],
) -> int:
    def rows_of(model: type[AnyRow]) -> Iterator[tuple[int, AnyRow]]:
        if source := directory.sources.get(model.kind):
            yield from _checked(model, source, directory, problems, report=report)

    connection.execute(statement("import_account_table"))
    connection.execute(statement("import_owner_table"))
    connection.execute(statement("import_device_table"))
    _copy(
        connection,
        statement("import_account_copy"),
        ((*row.values(), row.stored_key(), at) for at, row in rows_of(Account)),
    )
    _copy(connection, statement("import_owner_copy"), ((*row.values(), at) for at, row in rows_of(Owner)))
    connection.execute(statement("import_analyze_accounts"))
    tokens_deleted = make_room(connection)
    connection.execute(statement("import_account_after"), {"replace": replace})
    connection.execute(statement("import_owner_after"), {"replace": replace})
    realm_of = _find_realms(connection)
    devices = ((*row.values(), row.hash_for(realm_of(row)), at) for at, row in rows_of(Device))
    _copy(connection, statement("import_device_copy"), devices)
    connection.execute(statement("import_analyze_devices"))
    connection.execute(statement("import_device_after"), {"replace": replace})
    connection.execute(statement("import_analyze_after"))
    return tokens_deleted


def _checked(
    model: type[AnyRow],
    source: Source,
    directory: DirectoryFiles,
    problems: Problems,
    *,
    report: Callable[[str], None],
) -> Iterator[tuple[int, AnyRow]]:
    """The checked rows of one kind, each with its number; reports progress every few seconds."""
    due, count = monotonic() + PROGRESS_SECONDS, 0
    for count, (number, values) in enumerate(directory.rows(source.kind), start=1):

        def fault(field: str, message: str, number: int = number) -> None:
            problems.of_row(source, number, message, field=field)

        yield number, read_row(model, values, fault=fault)
        if count % 1000 == 0 and monotonic() >= due:
            report(f"{source.file}: {count:,} {source.kind}s so far")
            due = monotonic() + PROGRESS_SECONDS
    report(f"{source.file}: {count:,} {source.kind}s")


def _find_realms(connection: Connection) -> Callable[[Device], str]:
    """A function that tells the realm of a device, which we need to hash a password: it is not sent to PostgreSQL."""
    of_accounts: dict[str, str] = dict(connection.execute(statement("import_account_realms")))
    # For devices whose sip_realm the file does not have.
    of_devices: dict[str, str] = dict(connection.execute(statement("import_sip_realms")))

    def realm_of(device: Device) -> str:
        sip_realm = of_devices.get(device.id) if device.sip_realm is None else device.sip_realm
        return sip_realm or of_accounts.get(device.account_id, "")  # without an account, which the checks report

    return realm_of


def _copy(connection: Connection, copy_statement: LiteralString, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(copy_statement) as copy:
        for row in rows:
            copy.write_row(row)


def _check(
    connection: Connection, directory: DirectoryFiles, problems: Problems, *, replace: bool, rights: bool
) -> None:
    for query in (
        statement("import_account_problems"),
        statement("import_owner_problems"),
        statement("import_device_problems"),
    ):
        # A server-side cursor, since the wrong file of accounts can make a million problems.
        with connection.cursor(name="import_problems") as cursor:
            cursor.execute(query, {"replace": replace, "may_give_rights": rights})
            for kind, field, at, message, value, other, other_kind, other_at in cursor:
                where = "" if other_at is None else f" ({directory.sources[other_kind].place(other_at)})"
                text = message.format(value=shown(value or ""), other=shown(other or ""), where=where)
                problems.of_row(directory.sources[kind], at, text, field=field)


def _refuse_losses(connection: Connection, percent: int, *, may_empty: bool) -> None:
    for kind, before, lost, left in connection.execute(statement("import_losses")):
        all_go = lost and not left and percent < 100 and not may_empty
        if all_go or lost > max(FEW_ROWS, before * percent / 100):
            share = f"{lost:,} of {before:,} {kind}s"
            raise DirectoryRefused([f"this would delete {share}, more than {percent} %; --delete-at-most can allow it"])
