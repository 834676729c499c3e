"""Requests for flushes, and hiding their bindings. `sql.flushes.progress` has what happens afterwards.

Once :func:`request_flush` has committed, a flush is a promise: the worker carries it out even if the requester dies.
After :func:`hide_bindings` no list has its bindings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import Cursor, Rollback, sql
from psycopg.rows import TupleRow, class_row

from sql.connections.database import Connection
from sql.statements import fetch_row, statement

Cause = Literal["request", "command", "disabled", "deleted", "moved", "credentials"]

# Rows of location that are locked together: so few that no SIP worker waits long.
BATCH_ROWS = 200


@dataclass(frozen=True, slots=True)
class NodeSet:
    """The server_ids of all nodes, and whether each may hold any binding (DMQ, or no server_id_filter)."""

    ids: tuple[int, ...]
    replicated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding as it was when its flush was requested.

    Attributes:
        id: of this record, not of the row in location.
        ruid: None stands for all bindings of the AoR.
        username: of the AoR, up to its last "@".
        domain: the rest; None with usrloc's use_domain=0.
        server_id: of the node that received its REGISTER; None if it has no row.
        modified_epoch: epoch second of the last REGISTER to flush; later ones are newer bindings.
        cseq: of that REGISTER; -1 if every REGISTER of that second is newer.
        call_id: of that REGISTER; None if the previous release requested the flush, which did not store it.
        shown: whether lists showed it before the flush.
        confirmed: nodes that confirmed that they do not have it.
        settled_for: seconds since the last node confirmed; None before. Its row may still exist.
        attempts: number of requests to nodes about it.
        registered_again: whether its row has a later REGISTER; valid if usrloc writes at once (db_mode 1 and 3).
        newcomers: ruids of the AoR whose rows have registered since; filled only if ruid is None and the clock was set
            back.
    """

    id: int
    flush_id: str = ""
    ruid: str | None
    username: str
    domain: str | None
    server_id: int | None
    modified_epoch: int
    cseq: int
    call_id: str | None
    shown: bool
    confirmed: list[int] = field(default_factory=list)
    settled_for: float | None = None
    attempts: int = 0
    registered_again: bool = False
    newcomers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush that was just requested and is in the database."""

    id: str
    bindings: list[Binding]

    @property
    def shown(self) -> int:
        """The number of bindings that lists showed."""
        return sum(binding.shown for binding in self.bindings)


def account_exists(connection: Connection, account_id: str) -> bool:
    """Whether the account exists. A flush of an unknown account would find nothing and succeed."""
    return bool(fetch_row(connection, "account_exists", {"account_id": account_id})[0])


def request_flush(
    connection: Connection,
    account_id: str,
    *,
    username: str | None = None,
    cause: Cause,
    requested_by: str,
    request_id: str | None = None,
    lease: float,
    late: bool,
) -> Flush | None:
    """Promise a flush. Its bindings are not hidden yet.

    Args:
        connection: in autocommit mode.
        account_id: whose bindings.
        username: only its bindings, in any case; None for all.
        cause: why.
        requested_by: account of the token, or user of the shell.
        request_id: of the HTTP request.
        lease: seconds for the caller's own first attempt, before the worker retries.
        late: whether rows may lag behind memory, or be missing (db_mode 2). Then every binding is old that registered
            before the second of the request, by the clocks of Kamailio and PostgreSQL.

    Returns:
        None if no device and no live binding has ``username``; nothing is written then.
    """
    values = {"account_id": account_id, "username": username, "lease": lease, "late": late}
    with connection.transaction() as transaction:
        asked = {"cause": cause, "requested_by": requested_by, "request_id": request_id}
        row = execute_once(connection, "flush_insert", {**values, **asked}).fetchone()
        assert row is not None  # noqa: S101  # INSERT ... RETURNING has a row
        values["flush_id"] = flush_id = row[0]
        bindings = read_bindings(connection, "flush_bindings", values)
        if username is not None or late:
            bindings += read_bindings(connection, "flush_devices", values)
        flush = Flush(flush_id, bindings)
        if bindings:
            execute_once(connection, "flush_count", {"flush_id": flush_id, "bindings": flush.shown})
        else:
            execute_once(connection, "flush_finish", {"flush_ids": [flush_id]})
            if username is not None:
                raise Rollback(transaction)
        return flush
    return None


def execute_once(connection: Connection, name: str, values: dict[str, Any]) -> Cursor[TupleRow]:
    """Execute a statement with a new plan: a kept plan that was made for a small table is quadratic later."""
    return connection.execute(statement(name), values, prepare=False)


def read_bindings(connection: Connection, name: str, values: dict[str, Any]) -> list[Binding]:
    """Execute a statement that returns bindings."""
    with connection.cursor(row_factory=class_row(Binding)) as cursor:
        return cursor.execute(statement(name), values, prepare=False).fetchall()


def hide_bindings(connection: Connection, records: Sequence[int], *, wait: bool) -> None:
    """Hide rows from lists until they register again.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        records: ids of `Binding`s.
        wait: whether to wait for rows that another session has locked, one at a time so that nobody waits for more
            than one; otherwise skip them.

    Raises:
        DatabaseBusy: a row was locked for longer than the statement timeout.
    """
    hide = sql.SQL(statement("flush_hide"))
    for start in range(0, len(records), BATCH_ROWS):
        values = {"ids": list(records[start : start + BATCH_ROWS])}
        connection.execute(hide.format(locking=sql.SQL("skip locked")), values, prepare=False)
    if records and wait:
        for (held,) in execute_once(connection, "flush_unhidden", {"ids": list(records)}).fetchall():
            connection.execute(hide.format(locking=sql.SQL("")), {"ids": [held]}, prepare=False)
