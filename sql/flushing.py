"""What a flush needs to know of the table: whom it concerns, and whether their rows are gone."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from sql.connections import Connection
from sql.statements import statement

BATCH_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A row of location as it was when the flush was asked for.

    ``domain`` is None with usrloc's use_domain=0; ``modified_epoch`` is the time of its last REGISTER, Unix seconds;
    ``visible`` is whether it shows in lists, so not hidden by an earlier flush.
    """

    ruid: str
    username: str
    domain: str | None
    modified_epoch: int
    visible: bool


@dataclass(frozen=True, slots=True)
class DeviceAor:
    """The AoR that a device of the directory registers."""

    username: str
    realm: str


def find_bindings(connection: Connection, account_id: str, username: str | None = None) -> list[Binding]:
    """The live bindings of an account, or of one username of it in any case."""
    with connection.cursor(row_factory=class_row(Binding)) as cursor:
        return cursor.execute(statement("flush_bindings"), {"account_id": account_id, "username": username}).fetchall()


def find_device_aors(connection: Connection, account_id: str, username: str) -> list[DeviceAor]:
    """AoRs of the account's devices with this username in any case; several if they differ in sip_realm."""
    rows = connection.execute(statement("flush_devices"), {"account_id": account_id, "username": username})
    return [DeviceAor(*row) for row in rows]


def _ruids_and_times(bindings: Sequence[Binding]) -> dict[str, list[str] | list[int]]:
    return {
        "ruids": [binding.ruid for binding in bindings],
        "modified": [binding.modified_epoch for binding in bindings],
    }


def find_remaining(connection: Connection, bindings: Sequence[Binding]) -> list[Binding]:
    """Those of the bindings that still have their row and did not register again since."""
    rows = connection.execute(statement("flush_remaining"), _ruids_and_times(bindings))
    ruids = {row[0] for row in rows}
    return [binding for binding in bindings if binding.ruid in ruids]


def hide_bindings(connection: Connection, bindings: Sequence[Binding]) -> None:
    """Let rows show no more unless they register again; in batches, so that no SIP worker waits for long.

    Not deleted: while some Kamailio has the binding, a phone without a row would go on unseen (usrloc, db_mode 1).
    """
    for start in range(0, len(bindings), BATCH_ROWS):
        connection.execute(statement("flush_hide"), _ruids_and_times(bindings[start : start + BATCH_ROWS]))
