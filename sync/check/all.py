"""`registrations-sync check`: every check, in order, as far as database and nodes can be reached."""

from collections.abc import Iterator

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.check.database import Facts, check_database, check_schema, find_facts
from sql.check.rows import find_server_ids
from sql.check.writes import READ_ONLY
from sql.connections.database import connect
from sql.console.finding import Finding, Severity, passed
from sql.errors import DatabaseError, DatabaseUnreachable, SessionShared
from sql.settings import DatabaseSettings
from sql.worker.state import WorkerState, find_worker_state
from sync.check.nodes import check_nodes
from sync.settings import SyncSettings

# A worker gives a sign of life with every job, about once an interval; a job may also wait for PostgreSQL.
SILENCE_INTERVALS = 20
SILENCE_SECONDS = 10.0
FLUSH_SECONDS = 60.0
# What began after the statement lies a moment in its future.
CLOCK_SECONDS = 1.0


def find_all(settings: SyncSettings, database_settings: DatabaseSettings, kamailio: KamailioSettings) -> list[Finding]:
    """Check the database, the worker and every node. Changes nothing.

    Raises:
        StatementFailed: PostgreSQL refuses a statement: a bug, or a schema that was changed by hand.
    """
    nodes, findings = Nodes(kamailio), list[Finding]()
    facts: Facts | None = None
    now_epoch: float | None = None
    server_ids: dict[int, int] = {}
    try:
        with connect(database_settings, application_name="registrations-sync check", bounded=True) as connection:
            findings.append(schema := check_schema(connection))
            if schema.severity is Severity.OK:
                facts = find_facts(connection)
                findings += check_database(connection, facts=facts)
                server_ids = find_server_ids(connection)
                state = find_worker_state(connection)
                now_epoch = state.now_epoch
                if not any(found.id == READ_ONLY for found in findings):  # then the worker waits, or uses the primary
                    findings += _check_worker(state, settings)
    except DatabaseUnreachable as error:
        findings.append(_away(error))
    except SessionShared as error:
        what, _, remedy = str(error).partition(": ")
        why = "the API, the worker and registrations-db keep time limits, prepared statements and locks in sessions"
        findings.append(Finding("pooler", Severity.FAULT, what, f"{why}, so they refuse to start", remedy))
    except DatabaseError as error:
        if findings:
            raise
        findings.append(_away(error))  # the login is refused
    findings += check_nodes(nodes, kamailio, facts=facts, now_epoch=now_epoch, server_ids=server_ids)
    return findings


def _away(error: DatabaseError) -> Finding:
    return Finding(
        "database",
        Severity.FAULT,
        f"PostgreSQL is not available: {error}",
        "the API and the worker wait for it; if Kamailio cannot reach it either, it answers REGISTERs with 500",
        "start it, or correct REGISTRATIONS_DATABASE_URL",
    )


def _is_long(seconds: float | None, patience: float) -> bool:
    """Whether something took too long. A beginning in the future is from before the clock was set back."""
    return seconds is not None and not -CLOCK_SECONDS <= seconds <= patience


def _for(seconds: float | None) -> str:
    if seconds is None or seconds >= 0:
        return f"for {seconds or 0.0:.0f} seconds"
    return f"since PostgreSQL's clock was set back (its time lies {-seconds:.0f} seconds in the future)"


def _check_worker(state: WorkerState, settings: SyncSettings) -> Iterator[Finding]:
    patience = max(SILENCE_SECONDS, SILENCE_INTERVALS * settings.sync_enrich_interval)
    restart = "start `registrations-sync run`, or read its log"
    if not state.leads:
        yield Finding(
            "worker",
            Severity.FAULT,
            "no worker runs",
            "new registrations get no account, changes of the directory have no effect, flushes are not finished",
            restart,
        )
    elif state.silent_seconds is None:
        yield Finding(
            "worker",
            Severity.WARNING,
            "a worker leads under another login, whose last sign of life this login may not see",
            "this check cannot tell if it hangs, and no worker with this login would take its place",
            "use one login for all workers and for this check, or grant pg_read_all_stats to each",
        )
    elif _is_long(state.silent_seconds, patience):
        yield Finding(
            "worker",
            Severity.FAULT,
            f"the worker that leads has given no sign of life {_for(state.silent_seconds)}",
            "it hangs or is cut off; another worker takes its place, if there is one",
            "restart it; its log may say why",
        )
    else:
        yield passed("worker", "a worker leads, and gave a sign of life a moment ago")
    if _is_long(state.backlog_seconds, patience):
        yield Finding(
            "enrichment_late",
            Severity.WARNING,
            f"{state.backlog_rows} rows wait for their account, the oldest one {_for(state.backlog_seconds)}",
            "each list has to look these rows up in the directory, which is slow",
            restart,
        )
    if _is_long(state.flush_seconds, FLUSH_SECONDS):
        said = f"; the last error of a node: {state.flush_error}" if state.flush_error else ""
        yield Finding(
            "flushes_late",
            Severity.WARNING,
            f"{state.flushes} flushes are not finished, the oldest one has waited {_for(state.flush_seconds)}{said}",
            "flushed phones can still be called through a node that has not confirmed their flush",
            "make sure that every node answers and that the worker runs; remove a node that is gone for good from "
            "REGISTRATIONS_KAMAILIO_RPC",
        )
    else:
        yield passed("flushes", f"{state.flushes} flushes are not finished")
