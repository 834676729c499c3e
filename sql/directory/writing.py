"""The writes of an import, from its temporary tables into those of the directory, and what it counts of them."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from sql.connections.database import Connection
from sql.directory.rows import KINDS
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCounts:
    """What became of the rows of one kind; ``unchanged`` are rows of the files that the database had like that."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, each.name):,} {each.name}" for each in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCounts:
    """What an import did; ``tokens_deleted`` went with their accounts."""

    account: KindCounts
    owner: KindCounts
    device: KindCounts
    tokens_deleted: int = 0


def write_directory(
    connection: Connection, *, replace: bool, rights: bool, report: Callable[[str], None]
) -> ImportCounts:
    """Bring the tables to what the import's temporary tables say, which the checks have found good.

    Args:
        connection: in the import's transaction.
        replace: the files are the whole directory.
        rights: this role may write superduper_admin and api_key_hash; else the checks have found no change of these.
        report: called with a line now and then.
    """
    counts: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    for kind, state, count in connection.execute(statement("import_states")):
        counts[kind][state] = count
    tokens = 0
    # The order matters: who gives something up does it before others take it, and what is pointed at comes before
    # and goes after what points at it.
    if replace:
        report("deleting devices that the files do not have")
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
        row = connection.execute(statement("import_tokens_doomed")).fetchone()
        tokens = row[0] if row else 0
        counts["account"]["deleted"] = connection.execute(statement("import_account_delete")).rowcount
    return ImportCounts(
        account=KindCounts(**counts["account"]),
        owner=KindCounts(**counts["owner"]),
        device=KindCounts(**counts["device"]),
        tokens_deleted=tokens,
    )
