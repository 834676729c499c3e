"""The devices of an account, as its directory has them; passwords and hashes are never read."""

from collections.abc import Generator, Sequence
from typing import NotRequired, TypedDict, cast, get_type_hints

from psycopg import sql
from psycopg.rows import dict_row

from sql.connections.database import Connection
from sql.registrations.model import Condition, where
from sql.statements import statement


class Device(TypedDict):
    """One device; what is not required is left out when the device has none."""

    id: str
    name: str
    device_type: str
    enabled: bool
    owner_id: NotRequired[str]
    presence_id: NotRequired[str]
    username: str
    realm: str
    suppress_unregister_notify: bool
    register_overwrite_notify: bool


DEVICE_TYPES = get_type_hints(Device)


def list_devices(
    connection: Connection,
    account_id: str,
    *,
    device_id: str | None = None,
    conditions: Sequence[Condition] = (),
    ascending: bool = False,
    start: str | None = None,
    limit: int | None = None,
) -> Generator[Device, None, None]:
    """The devices of an account by their IDs, in the order of the bytes.

    Args:
        connection: lent until the generator is used up or closed.
        account_id: whose.
        device_id: only this one.
        conditions: all of them must hold; their keys are those of `Device`.
        ascending: the first ID first; the last one otherwise.
        start: the ID to begin at, that one included.
        limit: how many at the most.

    Raises:
        ValueError: a device has no such key.
    """
    direction, bound = ("asc", ">=") if ascending else ("desc", "<=")
    clauses, values = where(conditions, keys=DEVICE_TYPES)
    query = sql.SQL(statement("directory_devices")).format(
        direction=sql.SQL(direction), bound=sql.SQL(bound), conditions=clauses
    )
    values |= {"account_id": account_id, "device_id": device_id, "start": start, "limit": limit}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.stream(query, values):
            yield cast(Device, {key: value for key, value in row.items() if value is not None})
