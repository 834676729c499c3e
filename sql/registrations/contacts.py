"""The contacts of a device's phones, from usrloc's columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.registrations.model import Condition, where
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceContact:
    """A live binding of a device. An empty column is None.

    ``server_id`` is that of the Kamailio that received the REGISTER at ``socket``. ``source`` is the URI of the address
    that the REGISTER came from, as Kamailio saw it.
    """

    username: str
    domain: str
    contact: str
    received: str | None
    path: str | None
    socket: str | None
    server_id: int
    source: str | None


def find_device_contacts(
    connection: Connection, account_id: str, device_id: str, *, conditions: Sequence[Condition] = ()
) -> list[DeviceContact] | None:
    """The live bindings of a device of the account, oldest first; None if the account has no such device.

    Args:
        connection: to read them.
        account_id: whose.
        device_id: of the directory.
        conditions: a binding is left out unless its registration fulfils all of them.
    """
    chosen, values = where(conditions)
    query = sql.SQL(statement("device_contacts")).format(conditions=chosen)
    values |= {"account_id": account_id, "device_id": device_id, "all": not conditions}
    found = _fetch(connection, query, values)
    return [each for each in found if each.contact is not None] if found else None


def find_flush_contacts(connection: Connection, flush_id: str) -> list[DeviceContact]:
    """The contacts of the bindings that a flush removed from lists, oldest binding first."""
    return _fetch(connection, sql.SQL(statement("flush_contacts")), {"flush_id": flush_id})


def _fetch(connection: Connection, query: sql.SQL | sql.Composed, values: Mapping[str, object]) -> list[DeviceContact]:
    with connection.cursor(row_factory=class_row(DeviceContact)) as cursor:
        return cursor.execute(query, values).fetchall()
