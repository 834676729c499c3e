"""What can go wrong with PostgreSQL, as types that the other rooms can catch without knowing psycopg."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool


class Refusal(psycopg.OperationalError):
    """PostgreSQL answered, and does not let the role in."""


class DatabaseError(Exception):
    """Base of everything this room raises."""


class DatabaseUnreachable(DatabaseError):
    """PostgreSQL is away, starting, stopping, full, or too slow; the same call may succeed later."""


class DatabaseReadOnly(DatabaseUnreachable):
    """The server takes no writes for now: a replica, or one that an operator made read-only."""


class DatabaseFull(DatabaseUnreachable):
    """The server's disk has no room."""


class StatementFailed(DatabaseError):
    """PostgreSQL refused a statement: a bug, a missing grant or a schema that was changed by hand."""


class LoginRefused(StatementFailed):
    """PostgreSQL does not let the role in: the URL, the password or pg_hba.conf is wrong."""


class PermissionLacking(StatementFailed):
    """The role has not the privilege: another one's login, or a grant that is missing."""


class SessionShared(DatabaseError):
    """A pooler gives each transaction another session of PostgreSQL, and so takes what we keep in one."""


class RowHeld(DatabaseError):
    """A statement of somebody else's holds the row at this moment; the same call may succeed later."""


class SchemaStale(DatabaseError):
    """The database lacks migrations; the message names the command that applies them."""


class SchemaRefused(DatabaseError):
    """A migration cannot be applied; the message names what stands in the way."""


class DirectoryRefused(DatabaseError):
    """The directory that was to be imported is not valid; each message names file, line and column."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KazooRefused(DatabaseError):
    """Kazoo does not know the API key, or does not give what is wanted; the message says what was asked."""


class KazooMissing(KazooRefused):
    """Kazoo has no such document, or has it no more."""


class KazooUnreachable(DatabaseError):
    """Kazoo does not answer, or not with sense; the same call may succeed later."""


# SQLSTATE classes and codes after which a retry makes sense (PostgreSQL manual, appendix A): connection exceptions,
# insufficient resources, operator intervention (which holds the statement timeout), lock not available, a transaction
# that others were in the way of, an error of the disk, and a session that was idle in a transaction for too long, as
# that of a program that was frozen.
TRANSIENT = ("08", "53", "57", "55P03", "40001", "40P01", "58030", "25P03")


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into this module's.

    Raises:
        DatabaseUnreachable: the fault is not in the statement; read-only and full have types of their own.
        StatementFailed: the fault is in the statement.
    """
    try:
        yield
    except psycopg_pool.PoolTimeout as error:
        raise DatabaseUnreachable("no connection to PostgreSQL within the time limit") from error
    except psycopg.Error as error:
        message = (error.diag.message_primary or str(error)).strip().split("\n")[0]
        # The client library raises OperationalError without a code when the connection is gone.
        lost = error.sqlstate is None and isinstance(error, psycopg.OperationalError)
        if isinstance(error, Refusal):
            raise LoginRefused(message) from error
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            raise DatabaseReadOnly(message) from error
        if isinstance(error, psycopg.errors.DiskFull):
            raise DatabaseFull(message) from error
        if lost or (error.sqlstate or "").startswith(TRANSIENT):
            raise DatabaseUnreachable(message) from error
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise PermissionLacking(message) from error
        raise StatementFailed(message) from error
