"""Flushes as they are asked for, and how their bindings are hidden; how far they come is `sql.flushes.progress`'s.

A flush is a promise from the moment that :func:`request_flush` has committed: the worker carries it out whatever
becomes of the one who asked. From :func:`hide_bindings` on no list has its bindings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import Cursor, Rollback, sql
from psycopg.rows import TupleRow, class_row

from sql.connections.database import Connection
from sql.statements import statement

Cause = Literal["request", "command", "disabled", "deleted", "moved", "credentials"]

# Rows of location that are locked together: few enough that no SIP worker waits for one of them for long.
BATCH_ROWS = 200


@dataclass(frozen=True, slots=True)
class NodeSet:
    """Which nodes there are: their server_ids, and whether each may hold any binding (DMQ, or no server_id_filter)."""

    ids: tuple[int, ...]
    replicated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding as it was when its flush was asked for.

    Attributes:
        id: of this record, not of the row in location.
        ruid: None stands for whatever the AoR had.
        username: of the AoR, up to its last "@".
        domain: the rest; None with usrloc's use_domain=0.
        server_id: of the node that took its REGISTER; None when no row is known.
        modified_epoch: epoch second of the last REGISTER that is to go; what is later is a newer one.
        cseq: of that REGISTER; -1 when none of that second is to go.
        call_id: of that REGISTER; None when the release before asked for the flush, which did not keep it.
        shown: whether it was in lists until then.
        confirmed: nodes whose memory is clean of it.
        settled_for: seconds since the last node confirmed; None before. Its row may still be there.
        attempts: how often a node was asked about it.
        registered_again: whether its row says so, which holds good where usrloc writes at once (db_mode 1 and 3).
        newcomers: ruids of the AoR whose rows say that they registered since; looked for only where ruid is None and
            the clock was set back.
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
    """A flush that has just been asked for, and is in the database."""

    id: str
    bindings: list[Binding]

    @property
    def shown(self) -> int:
        """How many of the bindings were in lists."""
        return sum(binding.shown for binding in self.bindings)


def account_exists(connection: Connection, account_id: str) -> bool:
    """Whether there is such an account: the flush of one that is not there would have nothing to do, and be done."""
    row = connection.execute(statement("account_exists"), {"account_id": account_id}).fetchone()
    return bool(row and row[0])


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
    """Promise a flush; nothing is hidden yet.

    Args:
        connection: in autocommit mode.
        account_id: whose bindings.
        username: only of this one, in any case; all if None.
        cause: why.
        requested_by: account of the token, or user of the shell.
        request_id: of the HTTP request.
        lease: seconds that the caller needs for a first try of his own, before the worker looks at it.
        late: count on rows that lag behind memory, and on bindings without a row (db_mode 2). Then all is old that
            registered before the second of the request, by the clocks of Kamailio and PostgreSQL.

    Returns:
        None when ``username`` is neither a device's nor a live binding's; nothing is written then.
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
    """Execute a statement with a plan of its own: one that was made for a small table, and kept, is quadratic later."""
    return connection.execute(statement(name), values, prepare=False)


def read_bindings(connection: Connection, name: str, values: dict[str, Any]) -> list[Binding]:
    """Execute a statement that returns bindings."""
    with connection.cursor(row_factory=class_row(Binding)) as cursor:
        return cursor.execute(statement(name), values, prepare=False).fetchall()


def hide_bindings(connection: Connection, records: Sequence[int], *, wait: bool) -> None:
    """Let rows show no more unless they register again.

    Args:
        connection: in autocommit mode, so that the rows' locks end with each batch.
        records: ids of `Binding`s.
        wait: for rows that somebody holds at the moment, each by itself so that nobody waits for another; else they
            are left.

    Raises:
        DatabaseUnreachable: somebody holds a row for longer than a statement may take.
    """
    hide = sql.SQL(statement("flush_hide"))
    for start in range(0, len(records), BATCH_ROWS):
        values = {"ids": list(records[start : start + BATCH_ROWS])}
        connection.execute(hide.format(locking=sql.SQL("skip locked")), values, prepare=False)
    if records and wait:
        for (held,) in execute_once(connection, "flush_unhidden", {"ids": list(records)}).fetchall():
            connection.execute(hide.format(locking=sql.SQL("")), {"ids": [held]}, prepare=False)
