"""Detects a pooler that lends a session only for a transaction, as PgBouncer does with pool_mode=transaction.

We keep prepared statements, time limits, advisory locks and temporary tables in a session.
"""

from typing import Any

import psycopg

from sql.errors import SessionShared
from sql.statements import statement

# A busy pooler may by chance give two clients the same session for several transactions.
ROUNDS = 5


def refuse_shared_sessions(one: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> None:
    """Ask two connections in turn which session of PostgreSQL they have. Each must have its own.

    Without a pooler, or with one in session mode, this never raises. A very busy pooler may go unnoticed.

    Args:
        one: in autocommit mode.
        other: the same, open at the same time.

    Raises:
        SessionShared: both had the same session, or one had several.
    """
    sessions: tuple[set[Any], set[Any]] = (set(), set())
    for _ in range(ROUNDS):
        for connection, seen in zip((one, other), sessions, strict=True):
            cursor = connection.execute(statement("session_identity"), prepare=False)
            cursor.set_result(1)  # the SELECT's
            seen.add(cursor.fetchone())
    if any(len(seen) > 1 for seen in sessions) or sessions[0] & sessions[1]:
        raise SessionShared(
            "a pooler lends one session of PostgreSQL to several clients: set pool_mode=session for this database in "
            "pgbouncer.ini, or have REGISTRATIONS_DATABASE_URL name PostgreSQL itself"
        )
