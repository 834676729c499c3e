"""A schema of another version than API and worker are of: both say so at their start, and what is to be done."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.fixtures.server import StartServer
from tests.fixtures.worker import StartWorker
from tests.stand.process import DaemonFailed


def test_an_older_database_is_refused_and_a_later_one_served(
    database: psycopg.Connection, start_server: StartServer, start_worker: StartWorker
) -> None:
    """Of an older one API and worker name the command that cures it; of a later one they name what they do not know."""
    database.execute("delete from _yoyo_migration where migration_id = '0001-location'")
    for start in (start_server, start_worker):
        with pytest.raises(DaemonFailed, match=r"lacks .*run `registrations-db migrate`"):
            start()
    query = "insert into _yoyo_migration (migration_hash, migration_id) values (%s, %s)"
    for name in ("0001-location", "9999-of-tomorrow"):
        database.execute(query, (name, name))
    for started in (start_server().process, start_worker()):
        assert re.search("later version.*9999-of-tomorrow", started.log_text()), started.log_text()
