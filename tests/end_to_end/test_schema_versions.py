"""If the schema has another version than API and worker, both say at their start what to do."""

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
    """For an older schema API and worker name the command to run. For a later one they name the unknown migrations."""
    database.execute("delete from registrations_migration where name = '0001-location'")
    for start in (start_server, start_worker):
        with pytest.raises(DaemonFailed, match=r"lacks .*run `registrations-db migrate`"):
            start()
    for name in ("0001-location", "9999-of-tomorrow"):
        database.execute("insert into registrations_migration (name) values (%s)", (name,))
    for started in (start_server().process, start_worker()):
        assert re.search("later version.*9999-of-tomorrow", started.log_text()), started.log_text()
