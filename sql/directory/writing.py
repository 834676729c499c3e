"""The writes of an import, from its temporary tables into account, owner and device, and their counts."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from sql.connections.database import Connection
from sql.directory.columns import KINDS
from sql.statements import fetch_row, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCounts:
    """Counts of accounts, owners or devices; ``unchanged`` counts rows of the files that needed no write."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, each.name):,} {each.name}" for each in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCounts:
    """What an import did; ``tokens_deleted`` counts tokens of deleted accounts."""

    account: KindCounts
    owner: KindCounts
    device: KindCounts
    tokens_deleted: int = 0


def write_directory(
    connection: Connection, *, replace: bool, rights: bool, report: Callable[[str], None]
) -> ImportCounts:
    """Write what the temporary tables of the import hold, after the checks.

    Args:
        connection: in the import's transaction.
        replace: delete what the files do not have.
        rights: this role may write superduper_admin and api_key_hash. If not, the checks have refused changes of them.
        report: called with a line of progress.
    """
    counts: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    for kind, state, count in connection.execute(statement("import_states")):
        counts[kind][state] = count
    tokens = 0
    # The order matters: a row gives up a unique value before another takes it, and a row that others refer to is
    # created before them and deleted after them.
    if replace:
        report("deleting devices")
        counts["device"]["deleted"] = connection.execute(statement("import_device_delete")).rowcount
    report("writing accounts and owners")
    connection.execute(statement("import_device_vacate"))
    connection.execute(statement("import_device_disown"))
    connection.execute(statement("import_account_vacate"))
    if rights:
        connection.execute(statement("import_account_rights_vacate"))
    connection.execute(statement("import_account_update"))
    connection.execute(statement("import_account_insert"))
    if rights:
        connection.execute(statement("import_account_rights"))
    if replace:
        counts["owner"]["deleted"] = connection.execute(statement("import_owner_delete")).rowcount
    connection.execute(statement("import_owner_update"))
    connection.execute(statement("import_owner_insert"))
    report(
        f"writing devices: {counts['device'].get('created', 0):,} new, {counts['device'].get('updated', 0):,} changed"
    )
    connection.execute(statement("import_device_update"))
    connection.execute(statement("import_device_insert"))
    if replace:
        (tokens,) = fetch_row(connection, "import_tokens_doomed")
        counts["account"]["deleted"] = connection.execute(statement("import_account_delete")).rowcount
    return ImportCounts(
        account=KindCounts(**counts["account"]),
        owner=KindCounts(**counts["owner"]),
        device=KindCounts(**counts["device"]),
        tokens_deleted=tokens,
    )
