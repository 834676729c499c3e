"""Whether the database takes writes. One that does not still answers reads as if all were well."""

from sql.connections.database import Connection
from sql.connections.writability import find_read_only, try_write
from sql.console.finding import Finding, Severity, passed
from sql.errors import DatabaseFull, StatementFailed

READ_ONLY = "database_read_only"
WHY = "in db_mode 1 and 3 Kamailio answers REGISTERs with 500; the API and the worker wait"


def check_writes(connection: Connection) -> Finding:
    """Look at the session, then write.

    Args:
        connection: in autocommit mode.

    Raises:
        DatabaseUnreachable: PostgreSQL went away, or the disk failed.
    """
    reason = find_read_only(connection)
    if reason:
        return Finding(
            READ_ONLY,
            Severity.FAULT,
            f"the database takes no writes: {reason}",
            WHY,
            "promote the replica, or reset default_transaction_read_only. To follow a failover, name every host with "
            "target_session_attrs=read-write, in REGISTRATIONS_DATABASE_URL and in con_param of Kamailio's module",
        )
    try:
        try_write(connection)
    except DatabaseFull as error:
        return Finding("database_full", Severity.FAULT, f"the disk is full: {error}", WHY, "free space on that disk")
    except StatementFailed as error:
        return Finding("database_write", Severity.FAULT, f"a write fails: {error}", WHY, "see PostgreSQL's log")
    return passed("writes", "the database takes writes")
