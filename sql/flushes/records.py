"""The flushes of an account, as clients and operators see them."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushRecord:
    """One flush and its progress.

    ``nodes`` has, for each node that was asked, ``node`` (its server_id), ``name``, ``attempts``, ``attempted`` and
    ``confirmed`` (epoch seconds or None) and the last ``error``. ``pending`` counts bindings that their own node has
    not confirmed, ``pending_shown`` those of them that lists showed before, ``superseded`` those that registered again
    before a retry.
    """

    position: int
    id: str
    account_id: str
    username: str | None
    cause: str
    requested_by: str
    request_id: str | None
    requested_at: datetime
    finished_at: datetime | None
    bindings: int
    superseded: int
    pending_shown: int
    pending: int
    nodes: list[dict[str, Any]]


def list_flushes(
    connection: Connection,
    account_id: str,
    *,
    flush_id: str | None = None,
    ascending: bool = False,
    start: int | None = None,
    limit: int | None = None,
) -> Generator[FlushRecord, None, None]:
    """The flushes of one account.

    Args:
        connection: lent until the generator is used up or closed.
        account_id: whose.
        flush_id: only this one.
        ascending: oldest first; otherwise newest first.
        start: the ``position`` of the first one.
        limit: maximum number.
    """
    direction, bound = ("asc", ">=") if ascending else ("desc", "<=")
    with connection.cursor(row_factory=class_row(FlushRecord)) as cursor:
        yield from cursor.stream(
            sql.SQL(statement("flush_list")).format(direction=sql.SQL(direction), bound=sql.SQL(bound)),
            {"account_id": account_id, "flush_id": flush_id, "start": start, "limit": limit},
        )
