"""Who leads among several workers: one at a time, until its session ends or is silent; nobody else can interfere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors

from sql.errors import DatabaseBusy, SchemaStale
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sql.worker.leadership import APPLICATION_NAME, Leadership
from tests.stand.postgres import Cluster
from tests.stand.process import wait_until

OTHER_ROLES = ("registrations_kamailio", "registrations_api", "registrations_report", "registrations_import")

NewWorker = Callable[..., Leadership]


@pytest.fixture
def new_worker(database: psycopg.Connection, postgres: Cluster) -> Iterator[NewWorker]:
    """A worker's claim to the lead, with the rights of its role; its patience is longer than any test."""
    settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user="registrations_sync"))
    with ExitStack() as stack:

        def new(*, patience: float = 3600.0) -> Leadership:
            worker = Leadership(settings, patience=patience)
            stack.callback(worker.release)
            return worker

        yield new


@pytest.fixture(params=OTHER_ROLES)
def intruder(
    request: pytest.FixtureRequest, database: psycopg.Connection, postgres: Cluster
) -> Iterator[psycopg.Connection]:
    """A session of a role that is not the worker's, under the name of the worker's."""
    url = postgres.url(database.info.dbname, user=request.param)
    with psycopg.connect(url, autocommit=True, application_name=APPLICATION_NAME) as connection:
        yield connection


def test_the_next_leads_as_soon_as_the_session_of_the_first_ends(new_worker: NewWorker) -> None:
    """However it ends; and it stays with the second when the first comes back."""
    first, second = new_worker(), new_worker()
    assert [first.hold(), second.hold(), first.hold()] == [True, False, True]
    first.release()
    wait_until(second.hold, 10, "the second to lead")
    assert [first.hold(), second.hold()] == [False, True]


def test_who_is_silent_loses_the_lead_and_follows_when_it_wakes(new_worker: NewWorker) -> None:
    """Its session lasts all the while."""
    frozen, second = new_worker(), new_worker(patience=0.2)
    assert frozen.hold()
    assert not second.hold()
    wait_until(second.hold, 10, "the second to lead")
    assert [frozen.hold(), second.hold(), frozen.hold()] == [False, True, False]


def test_who_is_heard_keeps_the_lead_however_impatient_others_are(new_worker: NewWorker) -> None:
    """It used its session since the other looked last, whatever any clock says."""
    first, second = new_worker(), new_worker(patience=0.0)
    assert first.hold()
    for _ in range(20):
        assert [second.hold(), first.hold()] == [False, True]


def test_of_many_that_try_at_once_one_leads(new_worker: NewWorker, database: psycopg.Connection) -> None:
    """Again and again, on a lead that nobody has: an empty table, and a leader that is gone."""
    workers = [new_worker() for _ in range(8)]
    with ThreadPoolExecutor(len(workers)) as threads:
        for _ in range(20):
            assert sum(threads.map(Leadership.hold, workers)) == 1
            database.execute("update leader set pid = 0")
        database.execute("delete from leader")
        assert sum(threads.map(Leadership.hold, workers)) == 1


def test_a_session_of_another_server_leads_nothing_here(new_worker: NewWorker, database: psycopg.Connection) -> None:
    """After a failover or a restore the row may name a process that happens to run here, too."""
    worker, idle = new_worker(), new_worker()
    assert [worker.hold(), idle.hold()] == [True, False]
    idle_pid = "select pid from pg_stat_activity where application_name = %s and pid <> (select pid from leader)"
    database.execute(f"update leader set pid = ({idle_pid}), backend_start = '2020-01-01'", (APPLICATION_NAME,))
    assert worker.hold()


def test_a_session_that_a_pooler_lends_on_leads_no_more(new_worker: NewWorker, database: psycopg.Connection) -> None:
    """PgBouncer in session mode keeps it when its client dies, and gives it the name of the next client."""
    first, second = new_worker(), new_worker()
    assert [first.hold(), second.hold()] == [True, False]
    assert first._connection is not None
    first._connection.execute("discard all")
    first._connection.execute("set application_name = 'registrations-sync'")
    assert second.hold()
    first._connection.execute("select 1")  # the pool of a worker uses it all the time
    assert [first.hold(), second.hold()] == [False, True]


def test_a_check_of_the_schema_that_was_cut_short_is_made_again(
    database: psycopg.Connection, database_url: str, postgres: Cluster
) -> None:
    """The database may lack migrations all the same."""
    url = postgres.url(database.info.dbname, user="registrations_sync")
    worker = Leadership(DatabaseSettings(database_url=url, database_statement_timeout=0.1), patience=3600)
    with psycopg.connect(database_url) as other:
        other.execute("lock table registrations_migration")
        with pytest.raises(DatabaseBusy):
            worker.hold()
    database.execute("delete from registrations_migration")
    with pytest.raises(SchemaStale):
        worker.hold()


def test_a_cancelled_statement_costs_nobody_the_lead(database_url: str, database: psycopg.Connection) -> None:
    """The session stays, and with it the lead."""
    worker = Leadership(DatabaseSettings(database_url=database_url, database_statement_timeout=0.1), patience=3600)
    assert worker.hold()
    leads = "select term, pid from leader"
    before = database.execute(leads).fetchone()
    with psycopg.connect(database_url) as other:
        other.execute("lock table leader")
        with pytest.raises(DatabaseBusy):
            worker.hold()
    assert worker.hold()
    assert database.execute(leads).fetchone() == before
    worker.release()


def test_logins_of_their_own_lead_one_at_a_time(database: psycopg.Connection, postgres: Cluster) -> None:
    """Members of the role see of each other neither when a session began nor when it was used."""
    with ExitStack() as stack:
        workers = []
        for name in ("leader_one", "leader_two"):
            database.execute(f"create role {name} login in role registrations_sync")
            stack.callback(database.execute, f"drop role {name}")
            settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user=name))
            workers.append(Leadership(settings, patience=0.0))
            stack.callback(workers[-1].release)
        first, second = workers
        for _ in range(5):
            assert [first.hold(), second.hold()] == [True, False]
        first.release()
        wait_until(second.hold, 10, "the second to lead")


def test_each_of_two_installations_in_one_database_has_a_leader(
    new_worker: NewWorker, database: psycopg.Connection, postgres: Cluster
) -> None:
    """Two Kamailios in two schemas: the lead is of the schema's workers, whatever logins they have."""
    database.execute("create schema second")
    path = "options=-csearch_path%3Dsecond"
    migrate(DatabaseSettings(database_url=f"{postgres.url(database.info.dbname)}?{path}"))
    with ExitStack() as stack:

        def new_second(user: str) -> Leadership:
            url = f"{postgres.url(database.info.dbname, user=user)}?{path}"
            worker = Leadership(DatabaseSettings(database_url=url), patience=3600.0)
            stack.callback(worker.release)
            return worker

        database.execute("create role second_sync login in role registrations_sync")
        stack.callback(database.execute, "drop role second_sync")
        first, second = new_worker(), new_worker()
        first_of_second, second_of_second = new_second("registrations_sync"), new_second("second_sync")
        workers = [first, first_of_second, second, second_of_second]
        for _ in range(3):
            assert [worker.hold() for worker in workers] == [True, True, False, False]
        first_of_second.release()
        wait_until(second_of_second.hold, 10, "the other one to lead")
        assert [worker.hold() for worker in workers] == [True, False, False, True]


def test_no_other_role_takes_the_lead_or_keeps_a_worker_from_it(
    new_worker: NewWorker, intruder: psycopg.Connection, database: psycopg.Connection
) -> None:
    """Neither by the advisory lock that once was the lead, nor by the table, nor by a session like the leader's."""
    intruder.execute(
        "select pg_advisory_lock(hashtextextended('kamailio-registrations sync ' || current_database(), 0))"
    )
    for attempt in (
        "update leader set pid = pg_backend_pid()",
        "insert into leader (term, pid, backend_start) values (1, pg_backend_pid(), now())",
        "select from leader for share",
        "lock table leader in access share mode",
        "lock table leader in access exclusive mode",
        "lock table leading_session in access share mode",
    ):
        with pytest.raises(errors.InsufficientPrivilege), intruder.transaction():
            intruder.execute(attempt)
    worker, second = new_worker(), new_worker()
    assert [worker.hold(), second.hold()] == [True, False]
    # Processes have numbers that come again: that of a leader that is gone may be his.
    worker.release()
    database.execute("update leader set pid = %s", (intruder.info.backend_pid,))
    assert second.hold()
