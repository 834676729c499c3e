"""Connections that are kept for the next caller: what became of them meanwhile is not his trouble."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg

from sql.connections.database import Database
from sql.settings import DatabaseSettings
from tests.stand.process import wait_until

OF_POOL = "from pg_stat_activity where application_name = 'test pool'"


def test_the_first_caller_after_a_restart_is_served(database: psycopg.Connection, database_url: str) -> None:
    """However many sessions ended while nobody asked: a restart, an operator, idle_session_timeout."""
    settings = DatabaseSettings(database_url=database_url)
    with Database(settings, application_name="test pool", pool_size=8) as pool:
        for _ in range(2):
            with ExitStack() as lent:
                for _ in range(8):
                    lent.enter_context(pool.connection())
            database.execute(f"select pg_terminate_backend(pid) {OF_POOL}")
            wait_until(lambda: database.execute(f"select {OF_POOL}").fetchone() is None, 10, "their end")
            with pool.connection() as connection:
                assert connection.execute("select 1").fetchone() == (1,)
