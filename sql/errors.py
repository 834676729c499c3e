"""Errors of PostgreSQL, as types that the other rooms can catch without knowing psycopg."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool


class Refusal(psycopg.OperationalError):
    """PostgreSQL answered, and does not let the role in."""


class DatabaseError(Exception):
    """Base of everything this room raises."""


class DatabaseUnreachable(DatabaseError):
    """PostgreSQL is away, starting, stopping, full, or too slow. A retry may succeed."""


class DatabaseBusy(DatabaseUnreachable):
    """PostgreSQL answers, but cancelled this statement: a timeout, a lock or a deadlock."""


class DatabaseReadOnly(DatabaseUnreachable):
    """The server is read-only for now: a replica, or one that an operator made so."""


class DatabaseFull(DatabaseUnreachable):
    """The server's disk is full."""


class StatementFailed(DatabaseError):
    """PostgreSQL refused a statement: a bug, a missing grant or a schema that was changed by hand."""


class LoginRefused(StatementFailed):
    """PostgreSQL refuses the login: the URL, the password or pg_hba.conf is wrong."""


class PermissionLacking(StatementFailed):
    """The role lacks the privilege: it is the wrong login, or a grant is missing."""


class SessionShared(DatabaseError):
    """A pooler gives each transaction another session of PostgreSQL, so we cannot keep anything in one."""


class RowHeld(DatabaseError):
    """Another session has locked the row. A retry may succeed."""


class SchemaStale(DatabaseError):
    """Migrations are missing. The message names the command that applies them."""


class SchemaRefused(DatabaseError):
    """A migration cannot be applied. The message names the obstacle."""


class DirectoryRefused(DatabaseError):
    """The directory that was to be imported is not valid; each message names the file, the row and the field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# SQLSTATE classes and codes after which a retry makes sense (PostgreSQL manual, appendix A). The session is gone or
# cannot be had: connection exceptions, insufficient resources, operator intervention, an error of the disk, a session
# that was idle in a transaction for too long.
UNREACHABLE = ("08", "53", "57", "58030", "25P03")
# The session is fine and the statement is not: query cancelled (by the statement timeout, too), lock not available,
# serialization failure, deadlock.
BUSY = ("57014", "55P03", "40001", "40P01")


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into this module's.

    Raises:
        DatabaseUnreachable: a retry may succeed; its subclasses say more.
        StatementFailed: PostgreSQL will refuse the statement again.
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
        if error.sqlstate in BUSY:
            raise DatabaseBusy(message) from error
        if lost or (error.sqlstate or "").startswith(UNREACHABLE):
            raise DatabaseUnreachable(message) from error
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise PermissionLacking(message) from error
        raise StatementFailed(message) from error
