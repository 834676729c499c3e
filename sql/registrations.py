"""The read model: the registrations of an account, from the view `registrations`."""

from dataclasses import dataclass

from psycopg.rows import class_row

from sql.connections import Connection
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One binding, with Crossbar's keys (public code: cb_registrations.erl, ecallmgr_registrar.erl).

    Times are Gregorian seconds, ``expires`` is seconds from ``event_timestamp``. Text that is not known is ``""``,
    for ``network_ip`` and ``network_port`` ``"undefined"``; the fields that may be None are Kazoo's extras.
    """

    account_name: str
    account_realm: str
    authorizing_id: str
    authorizing_type: str
    call_id: str
    contact: str
    contact_ip: str
    contact_port: str
    event_timestamp: int
    expires: int
    first_registration: bool
    from_host: str
    from_user: str
    initial_registration: int
    last_registration: int
    network_ip: str
    network_port: str
    original_contact: str
    owner_id: str
    presence_id: str | None
    proxy_ip: str
    proxy_path: str | None
    proxy_port: str
    proxy_protocol: str | None
    realm: str
    register_overwrite_notify: bool
    registrar_hostname: str | None
    registrar_node: str | None
    source_ip: str | None
    source_port: str | None
    suppress_unregister_notify: bool
    to_host: str
    to_user: str
    user_agent: str
    username: str


def list_registrations(connection: Connection, account_id: str) -> list[Registration]:
    """The bindings of one account that are registered now, newest first."""
    with connection.cursor(row_factory=class_row(Registration)) as cursor:
        return cursor.execute(statement("registrations_list"), {"account_id": account_id}).fetchall()


def count_registrations(connection: Connection, account_id: str | None) -> int:
    """How many bindings :func:`list_registrations` gives; None: how many there are of all accounts and of none."""
    if account_id is None:
        row = connection.execute(statement("registrations_count_all")).fetchone()
    else:
        row = connection.execute(statement("registrations_count"), {"account_id": account_id}).fetchone()
    return row[0] if row else 0


def list_registered_devices(connection: Connection, account_id: str) -> list[str]:
    """IDs of the account's devices that have a binding, each once, in the order of the text."""
    return [row[0] for row in connection.execute(statement("registrations_devices"), {"account_id": account_id})]
