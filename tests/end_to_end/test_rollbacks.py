"""An operator may monitor `xact_rollback` of pg_stat_database: it counts failures only, and no reads."""

from __future__ import annotations

import psycopg
from flask.testing import FlaskClient

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database, connect
from sql.registrations.listing import PAGE_ROWS, list_registrations
from sql.settings import DatabaseSettings
from sql.worker.leadership import Leadership
from sync.check.all import find_all
from sync.jobs import Jobs
from sync.settings import SyncSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

REGISTRATIONS = "/v2/accounts/reseller/registrations"
READS = [
    "/ready",
    "/v2/token_auth",
    "/v2/accounts/reseller/devices/status",
    REGISTRATIONS,
    f"{REGISTRATIONS}?ascending=true",
    f"{REGISTRATIONS}?page_size=1",
    f"{REGISTRATIONS}?page_size={PAGE_ROWS + 10}",
    f"{REGISTRATIONS}?page_size=2&filter_realm=reseller.test",
    f"{REGISTRATIONS}?accept=csv",
    f"{REGISTRATIONS}/count",
    f"{REGISTRATIONS}/flushes",
    f"{REGISTRATIONS}/flushes?page_size=1",
]


def _rollbacks(database: psycopg.Connection) -> int:
    database.execute("select pg_stat_clear_snapshot()")
    found = database.execute("select xact_rollback from pg_stat_database where datname = current_database()").fetchone()
    assert found is not None
    return int(found[0])


def _have_gone(database: psycopg.Connection) -> bool:
    """Return whether every other session has ended, and so has reported its counts."""
    others = "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    return database.execute(others).fetchone() is None


def _flush(http: FlaskClient, directory: Directory, username: str) -> int:
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    return http.delete(f"{REGISTRATIONS}/{username}", headers=headers).status_code


def _read_by_api(http: FlaskClient, directory: Directory) -> None:
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    for path in READS * 2:
        with http.get(path, headers=headers) as response:
            assert (response.status_code, bool(response.get_data())) == (200, True), path


def _break_a_list_off(url: str) -> None:
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        rows = list_registrations(connection, "reseller")
        next(rows)
        rows.close()


def _work(settings: DatabaseSettings, nodes: Nodes) -> None:
    """Become leader and run each job."""
    leadership = Leadership(settings, patience=30)
    with Database(settings, application_name="test", pool_size=1) as pool:
        jobs = Jobs(pool, nodes, SyncSettings())
        for _ in range(2):
            assert leadership.hold()
            for job in (jobs.enrich, jobs.reconcile, jobs.expire, jobs.count, jobs.watch):
                job()
            for node in nodes.ids:
                jobs.flush(node)
    leadership.release()


def test_no_read_ends_in_a_rollback(
    start_api: StartApi,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    postgres: Cluster,
) -> None:
    """Lists, an aborted list, counts, a check and an idle worker roll nothing back. A failed write is counted."""
    settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user="registrations_sync"))
    kamailio = KamailioSettings(kamailio_rpc=NOWHERE)
    for number in range(3 * PAGE_ROWS):
        add_binding(f"phone{number}", "reseller.test")
    reading, writing = start_api(), start_api()
    assert [_flush(writing, directory, f"phone{number}") for number in range(3)] == [200] * 3
    _work(settings, Nodes(kamailio))
    before = _rollbacks(database)
    _read_by_api(reading, directory)
    _break_a_list_off(postgres.url(database.info.dbname, user="registrations_api"))
    find_all(SyncSettings(), settings, kamailio)
    _work(settings, Nodes(kamailio))
    for http in (reading, writing):
        http.application.extensions["database"].close()
    wait_until(lambda: _have_gone(database), 20, "the sessions to end")
    database.execute("alter table flush_binding rename to elsewhere")
    failing = start_api()
    assert _flush(failing, directory, "phone3") == 500
    failing.application.extensions["database"].close()
    wait_until(lambda: _rollbacks(database) > before, 20, "the failed write to be counted")
    assert _rollbacks(database) == before + 1
