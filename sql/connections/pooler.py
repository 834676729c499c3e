"""Telling a pooler that lends its sessions for a transaction only, as PgBouncer does with pool_mode transaction.

We keep things in a session: prepared statements, time limits, advisory locks, temporary tables.
"""

from typing import Any

import psycopg

from sql.errors import SessionShared
from sql.statements import statement

# Enough in a busy pooler, too, which may by chance give each of two clients the same session again for a while.
ROUNDS = 5


def refuse_shared_sessions(one: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> None:
    """Ask two connections in turns which session of PostgreSQL answers them; each must have its own.

    Without a pooler, and with one in session mode, this cannot fail. It may pass in a pooler that is very busy.

    Args:
        one: in autocommit mode.
        other: the same, open at the same time.

    Raises:
        SessionShared: a session answered both, or one of them had several.
    """
    sessions: tuple[set[Any], set[Any]] = (set(), set())
    for _ in range(ROUNDS):
        for connection, seen in zip((one, other), sessions, strict=True):
            cursor = connection.execute(statement("session_identity"), prepare=False)
            cursor.set_result(1)  # that of the select
            seen.add(cursor.fetchone())
    if any(len(seen) > 1 for seen in sessions) or sessions[0] & sessions[1]:
        raise SessionShared(
            "a pooler lends one session of PostgreSQL to several clients: set pool_mode=session for this database in "
            "pgbouncer.ini, or have REGISTRATIONS_DATABASE_URL name PostgreSQL itself"
        )
