"""What the database knows about the worker: its last sign of life, and the backlog of rows and flushes."""

from dataclasses import dataclass

from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.statements import fetch_row, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """Seconds are None if nothing waits, or if the role may not see it.

    Attributes:
        now_epoch: PostgreSQL's clock.
        leads: whether a worker holds the lead.
        silent_seconds: since it last used its leading session, which it does with every job.
        backlog_rows: rows of location that are not enriched yet, counted up to 100,000.
        backlog_seconds: since the oldest of them was created.
        flushes: flushes that are not finished, counted up to 100,000.
        flush_seconds: since the oldest of them was requested.
        flush_error: the last error that a node gave for one.
    """

    now_epoch: float
    leads: bool
    silent_seconds: float | None
    backlog_rows: int
    backlog_seconds: float | None
    flushes: int
    flush_seconds: float | None
    flush_error: str | None


def find_epoch(connection: Connection) -> float:
    """The time by PostgreSQL's clock, epoch seconds."""
    return float(fetch_row(connection, "clock")[0])


def find_worker_state(connection: Connection) -> WorkerState:
    """Read the state. The cost grows with the backlog, not with the table."""
    with connection.cursor(row_factory=class_row(WorkerState)) as cursor:
        state = cursor.execute(statement("worker_state")).fetchone()
    assert state is not None  # noqa: S101  # it joins single rows
    return state
