"""The directory of a proxy that has none of its own: Kamailio's table `subscriber`, and an account for each domain.

It is in force on a database of kamdbctl until a directory is imported, or the operator replaces the view `directory`.
"""

from time import sleep

import psycopg

from sql.connections.database import Connection
from sql.errors import DatabaseUnreachable
from sql.statements import statement

LOCK_ATTEMPTS = 200
LOCK_PAUSE_SECONDS = 0.1


def follow_domains(connection: Connection) -> int:
    """Make accounts for the domains of subscribers and phones that have none; returns how many.

    Does nothing where another directory is in force.
    """
    row = connection.execute(statement("account_follow_domains")).fetchone()
    return int(row[0]) if row else 0


def make_room(connection: Connection) -> int:
    """Let what an import brings replace the accounts that were made of domains; before it looks at the tables.

    Args:
        connection: in the import's transaction, after it has read the accounts of its files.

    Returns:
        How many tokens went with accounts that were replaced.
    """
    row = connection.execute(statement("import_automatic_tokens")).fetchone()
    connection.execute(statement("import_automatic_yield"))
    return int(row[0]) if row else 0


def leave_subscriber(connection: Connection) -> None:
    """Let accounts of domains be like any other, and the view `directory` read what was imported.

    Who waits for a view's lock makes every reader behind it wait, so it is tried for an instant, again and again.

    Args:
        connection: in the import's transaction, as the view's owner.

    Raises:
        DatabaseUnreachable: somebody reads it all the time.
    """
    connection.execute(statement("import_automatic_keep"))
    row = connection.execute(statement("directory_is_of_subscriber")).fetchone()
    if not row or not row[0]:
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
