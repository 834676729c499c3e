"""Where the phones of a device can be reached, as usrloc's columns say it, byte for byte."""

from dataclasses import dataclass
from typing import Any, overload

from sql.connections import Connection
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceContact:
    """A live binding of a device; what is empty in a column is None. Bytes that are no UTF-8 are surrogates (PEP 383).

    ``server_id`` is that of the Kamailio that took the REGISTER, and has the ``socket``. ``source_is_named``: what is
    in ``received`` was named by the request itself, as registrations.cfg has noted.
    """

    username: str
    domain: str
    contact: str
    received: str | None
    path: str | None
    socket: str | None
    server_id: int
    source_is_named: bool


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
    username, domain, contact, received, path, socket, server_id, source_is_named = row
    return DeviceContact(
        username=bytes_of(username),
        domain=bytes_of(domain),
        contact=bytes_of(contact),
        received=bytes_of(received),
        path=bytes_of(path),
        socket=bytes_of(socket),
        server_id=server_id,
        source_is_named=source_is_named,
    )


@overload
def bytes_of(stored: str) -> str: ...
@overload
def bytes_of(stored: None) -> None: ...
def bytes_of(stored: str | None) -> str | None:
    """The text that a phone sent: Kamailio's connection declares LATIN1, so each character of a column is a byte.

    A character beyond LATIN1 is from before that declaration, when it was UTF-8.
    """
    if stored is None:
        return None
    try:
        return stored.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return stored
