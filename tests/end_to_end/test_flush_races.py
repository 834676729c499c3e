"""A phone registers in the very instant in which the worker retries a flush of before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.worker import StartJobs
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster

# Where Kamailio looks and deletes in two statements every third removes the newer binding.
TRIES = 60


def test_in_mode_3_a_retry_never_removes_what_registers_at_that_instant(
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    start_api: StartApi,
    start_jobs: StartJobs,
) -> None:
    """DELETE while Kamailio cannot be asked; then REGISTER and retry at once: the phone is registered whoever wins."""
    registrar = start_kamailio(
        database_url=postgres.kamailio_url(database.info.dbname, user="registrations_kamailio"), db_mode=3
    )
    client, jobs = start_api(kamailio_rpc=NOWHERE), start_jobs(kamailio_rpc=registrar.rpc_url)
    headers = {"X-Auth-Token": directory.tokens["child"]}
    removed = 0
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as bob, ThreadPoolExecutor(1) as threads:
        bob.register()
        for _ in range(TRIES):
            assert client.delete("/v2/accounts/child/registrations/bob", headers=headers).get_json()["pending"] == 1
            database.execute("update flush_binding set due_at = now()")
            retry = threads.submit(jobs.flush, 0)
            assert bob.register().status == 200
            retry.result()
            removed += database.execute("select 1 from location").fetchone() is None
    assert removed == 0
