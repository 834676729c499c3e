"""Where the phones of a device can be reached, as usrloc's columns say it."""

from dataclasses import dataclass
from typing import Any

from sql.connections.database import Connection
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceContact:
    """A live binding of a device; what is empty in a column is None.

    ``server_id`` is that of the Kamailio that took the REGISTER, and has the ``socket``. ``source`` is the URI of where
    the REGISTER came from, as Kamailio saw it.
    """

    username: str
    domain: str
    contact: str
    received: str | None
    path: str | None
    socket: str | None
    server_id: int
    source: str | None


def find_device_contacts(connection: Connection, account_id: str, device_id: str) -> list[DeviceContact] | None:
    """The live bindings of a device of the account, oldest first; None when the account has no such device."""
    rows = connection.execute(
        statement("device_contacts"), {"account_id": account_id, "device_id": device_id}
    ).fetchall()
    if not rows:
        return None
    return [_contact(row) for row in rows if row[2] is not None]


def find_flush_contacts(connection: Connection, flush_id: str) -> list[DeviceContact]:
    """Where the phones are whose bindings showed when the flush was asked for, oldest binding first."""
    return [_contact(row) for row in connection.execute(statement("flush_contacts"), {"flush_id": flush_id})]


def _contact(row: tuple[Any, ...]) -> DeviceContact:
    username, domain, contact, received, path, socket, server_id, source = row
    return DeviceContact(
        username=username,
        domain=domain,
        contact=contact,
        received=received,
        path=path,
        socket=socket,
        server_id=server_id,
        source=source,
    )
