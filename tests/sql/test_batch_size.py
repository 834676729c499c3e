"""Statements take as many rows as they have time for."""

from __future__ import annotations

import psycopg

from sql.batch_size import LEAST_ROWS, READING_SECONDS, WRITING_SECONDS, BatchSize


def test_slow_statements_get_fewer_rows_but_never_hardly_any(database: psycopg.Connection) -> None:
    """Whatever makes them slow, a disk or other work, their locks are over sooner."""
    size, taken = BatchSize(READING_SECONDS, most=200), []
    for _ in range(5):
        taken.append(size.rows)
        with size.measured():
            database.execute("select pg_sleep(0.02)")
    assert taken == sorted(taken, reverse=True)
    assert size.rows == LEAST_ROWS < taken[0]


def test_quick_statements_get_more_rows_up_to_the_limit() -> None:
    """REGISTRATIONS_SYNC_BATCH is what they get at the most."""
    size = BatchSize(WRITING_SECONDS, most=200)
    for _ in range(1000):  # some of them may be interrupted
        with size.measured():
            pass
        if size.rows == 200:
            return
    assert size.rows == 200


def test_one_slow_statement_only_halves_the_rows(database: psycopg.Connection) -> None:
    """Some other program's work is no reason to begin anew."""
    size = BatchSize(WRITING_SECONDS, most=10)
    with size.measured():
        database.execute("select pg_sleep(0.5)")
    assert size.rows == 5


def test_the_limit_may_be_one_row() -> None:
    """An operator who wants each row locked alone gets that."""
    size = BatchSize(WRITING_SECONDS, most=1)
    for _ in range(3):
        assert size.rows == 1
        with size.measured():
            pass
