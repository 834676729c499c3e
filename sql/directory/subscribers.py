"""The default directory: Kamailio's table `subscriber`, with an account for each domain.

A database of kamdbctl uses it until a directory is imported or the operator replaces the view `directory`.
"""

from time import sleep

import psycopg

from sql.connections.database import Connection
from sql.errors import DatabaseUnreachable
from sql.statements import fetch_row, statement

LOCK_ATTEMPTS = 200
LOCK_PAUSE_SECONDS = 0.1


def follow_domains(connection: Connection) -> int:
    """Create accounts for domains of subscribers and registrations that have none; returns how many.

    Does nothing if another directory is used.
    """
    return int(fetch_row(connection, "account_follow_domains")[0])


def make_room(connection: Connection) -> int:
    """Delete accounts that were made of domains if the import has another account with their realm.

    Args:
        connection: in the import's transaction, once import_account is filled.

    Returns:
        How many tokens were deleted with these accounts.
    """
    (tokens,) = fetch_row(connection, "import_automatic_tokens")
    connection.execute(statement("import_automatic_yield"))
    return int(tokens)


def leave_subscriber(connection: Connection) -> None:
    """Make the view `directory` read account, owner and device, and accounts that were made of domains ordinary ones.

    A session that waits for the lock of a view makes later readers wait behind it. So each attempt waits for an instant
    only.

    Args:
        connection: in the import's transaction, of the view's owner.

    Raises:
        DatabaseUnreachable: other sessions read the view all the time.
    """
    connection.execute(statement("import_automatic_keep"))
    if not fetch_row(connection, "directory_is_of_subscriber")[0]:
        return
    for _ in range(LOCK_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(statement("directory_limits"))
                connection.execute(statement("directory_follow_devices"))
            return
        except psycopg.errors.LockNotAvailable:
            sleep(LOCK_PAUSE_SECONDS)
    raise DatabaseUnreachable("the view directory is in use all the time; see pg_locks, then try again")
