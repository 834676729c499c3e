"""A phone registers at the same instant as the worker retries an earlier flush."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep, time

import psycopg
import pytest

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import NOWHERE, StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.site import StartSite
from tests.fixtures.worker import StartJobs
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster

# If Kamailio checked and deleted in two statements, every third attempt would remove the newer binding.
TRIES = 60


def test_in_mode_3_a_retry_never_removes_what_registers_at_that_instant(
    start_kamailio: StartKamailio,
    directory: Directory,
    database: psycopg.Connection,
    postgres: Cluster,
    start_api: StartApi,
    start_jobs: StartJobs,
) -> None:
    """DELETE while Kamailio is unreachable, then REGISTER and retry together: the phone stays, whoever wins."""
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


@pytest.mark.parametrize("db_mode", [1, 3])
@pytest.mark.parametrize("again", ["new Call-ID", "new CSeq", "both"])
def test_what_registers_again_in_the_second_of_the_flush_stays(
    start_site: StartSite, start_api: StartApi, start_jobs: StartJobs, db_mode: int, again: str
) -> None:
    """REGISTER, DELETE and REGISTER within one second, at the same Contact: it shows, and the retry does not remove it.

    RFC 3261 section 10.2 requires one Call-ID and a higher CSeq, but some phones use a new Call-ID for each REGISTER,
    and thus the same CSeq.
    """
    site = start_site(db_mode=db_mode)
    cut_off = start_api(kamailio_rpc=NOWHERE, kamailio_db_mode=db_mode)
    jobs = start_jobs(kamailio_rpc=f"1={site.proxy.rpc_url}")
    headers = {"X-Auth-Token": site.directory.tokens["reseller"]}
    path = "/v2/accounts/reseller/registrations/alice?check_sync=false"
    for _ in range(20):
        before = site.phone(contact="sip:alice@192.0.2.40:5080")
        after = before if again == "new CSeq" else site.phone(contact="sip:alice@192.0.2.40:5080")
        after.cseq = 10 if again == "both" else after.cseq
        sleep(1.02 - time() % 1)  # so that most of a second is left
        assert before.register().ok
        assert cut_off.delete(path, headers=headers).get_json()["pending"] == 1
        assert after.register().ok
        (row,) = site.database.execute(
            "select last_modified = flushed_epoch, callid = flushed_callid, cseq = flushed_cseq from location"
        ).fetchall()
        if row[0]:
            break
        jobs.flush(1)
        assert after.unregister().ok
        site.database.execute("delete from flush")
    assert row == (True, again == "new CSeq", again == "new Call-ID")
    assert len(site.shown()) == 1
    site.database.execute("update flush_binding set due_at = now()")
    assert jobs.flush(1) == {"flushed": 0, "superseded": 1, "rows_deleted": 0}
    with site.proxy.rpc() as rpc:
        (held,) = usrloc.lookup(rpc, "alice@reseller.test")
    assert held.call_id == after.call_id
    assert len(site.shown()) == 1


def test_a_flush_of_the_release_before_is_carried_out(
    start_site: StartSite, start_api: StartApi, start_jobs: StartJobs
) -> None:
    """That release stored no Call-ID, so second and CSeq decide. The row is hidden and the binding removed."""
    site = start_site()
    cut_off = start_api(kamailio_rpc=NOWHERE, kamailio_db_mode=1)
    jobs = start_jobs(kamailio_rpc=f"1={site.proxy.rpc_url}")
    headers = {"X-Auth-Token": site.directory.tokens["reseller"]}
    assert site.phone().register().ok
    assert cut_off.delete("/v2/accounts/reseller/registrations/alice", headers=headers).get_json()["pending"] == 1
    site.database.execute("update flush_binding set seen_callid = null, due_at = now()")
    site.database.execute("update location set flushed_callid = null")
    assert site.shown() == []
    assert jobs.flush(1)["flushed"] == 1
    assert site.rows() == []
