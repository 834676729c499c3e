"""What the database knows of the worker: who leads and was heard when, what waits for enrichment and for a flush."""

from dataclasses import dataclass

from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """Seconds are None where nothing waits, or where the role may not see it.

    Attributes:
        now_epoch: PostgreSQL's clock.
        leads: whether a worker holds the lead.
        silent_seconds: since it last used the session that holds it, which it does at every job.
        backlog_rows: of location that are not enriched yet; counted to a hundred thousand, as flushes are.
        backlog_seconds: since the oldest of them came to be.
        flushes: that are not finished.
        flush_seconds: since the oldest of them was asked for.
        flush_error: what a node last answered to one.
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
    """What PostgreSQL's clock says now, epoch seconds."""
    row = connection.execute(statement("clock")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has a row
    return float(row[0])


def find_worker_state(connection: Connection) -> WorkerState:
    """Read it; costs what waits, not what there is."""
    with connection.cursor(row_factory=class_row(WorkerState)) as cursor:
        state = cursor.execute(statement("worker_state")).fetchone()
    assert state is not None  # noqa: S101  # it joins single rows
    return state
