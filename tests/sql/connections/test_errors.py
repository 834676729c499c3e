"""Which errors of PostgreSQL's mean that it is away, and which only that it cancelled a statement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from sql.errors import DatabaseBusy, DatabaseUnreachable, translated


def test_a_statement_that_takes_too_long_is_no_outage(database: psycopg.Connection) -> None:
    """PostgreSQL cancelled it by its own limit."""
    database.execute("set statement_timeout = '50ms'")
    with pytest.raises(DatabaseBusy, match="statement timeout"), translated():
        database.execute("select pg_sleep(60)")


def test_a_lock_that_is_not_had_in_time_is_no_outage(database: psycopg.Connection, database_url: str) -> None:
    """The statement gave up by its lock_timeout."""
    database.execute("set lock_timeout = '50ms'")
    with psycopg.connect(database_url) as holder:
        holder.execute("lock table flush")
        with pytest.raises(DatabaseBusy, match="lock timeout"), translated():
            database.execute("select from flush")


def test_a_deadlock_is_no_outage(database: psycopg.Connection, database_url: str) -> None:
    """Of two transactions that wait for each other PostgreSQL cancels one."""
    database.execute("create table wanted (id) as values (1), (2)")

    def lock(connection: psycopg.Connection, number: int) -> None:
        with translated():
            connection.execute("select from wanted where id = %s for update", (number,))

    with (
        ThreadPoolExecutor() as threads,
        psycopg.connect(database_url) as one,
        psycopg.connect(database_url) as other,
    ):
        lock(one, 1)
        lock(other, 2)
        attempts = [threads.submit(lock, one, 2), threads.submit(lock, other, 1)]
        errors = [error for attempt in attempts if (error := attempt.exception(timeout=30))]
        assert [type(error) for error in errors] == [DatabaseBusy]


def test_a_session_that_was_ended_is_an_outage(database: psycopg.Connection, database_url: str) -> None:
    """A new one is needed."""
    with psycopg.connect(database_url) as ended:
        database.execute("select pg_terminate_backend(%s)", (ended.info.backend_pid,))
        with pytest.raises(DatabaseUnreachable) as raised, translated():
            ended.execute("select 1")
    assert raised.type is DatabaseUnreachable
