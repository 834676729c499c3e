"""Whether a phone can register, refresh and go: what PostgreSQL does with its row, by the operator's triggers, too."""

import psycopg

from sql.connections import Connection


def failure_of_a_registration(connection: Connection) -> str | None:
    """Write a row as usrloc does, refresh it, remove it, and take all back.

    It takes no number of the sequence. It is found by its place, so that no other row is read under the table's lock.

    Args:
        connection: within a transaction.

    Returns:
        What went wrong; None when nothing did.

    Raises:
        psycopg.OperationalError: it says nothing of the table; a lock is waited for again.
    """
    row: tuple[str, ...] | None
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local enable_seqscan = off")
            row = connection.execute(
                "insert into location (id, ruid) values (-1, 'registrations') returning ctid::text"
            ).fetchone()
            again = "update location set cseq = cseq + 1 where ctid = %s::tid returning ctid::text"
            row = row and connection.execute(again, row).fetchone()
            if row:
                connection.execute("delete from location where ctid = %s::tid", row)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        where = (error.diag.context or "").partition("\n")[0]
        return f"{error.diag.message_primary or error}{f' ({where})' if where else ''}"
    return None
