"""What the worker writes: enrichment, reconciliation, expiry, in every case by the directory's word."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database
from sql.settings import DatabaseSettings
from sync.jobs import Jobs
from sync.settings import SyncSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

DAY = 86400


@pytest.fixture
def jobs(database: psycopg.Connection, postgres: Cluster) -> Iterator[Jobs]:
    """The jobs, with the rights of the worker's own role."""
    url = postgres.url(database.info.dbname, user="registrations_sync")
    with Database(DatabaseSettings(database_url=url), application_name="test", pool_size=1) as pool:
        yield Jobs(pool, Nodes(KamailioSettings()), SyncSettings(sync_batch=3))


def _ids(database: psycopg.Connection, username: str) -> Any:
    return database.execute(
        "select account_id, device_id, owner_id from location where username = %s", (username,)
    ).fetchone()


def test_enrich_finds_account_device_and_owner(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """By username and realm in any case; by realm alone for a device that is not in the directory."""
    add_binding("ALICE", "Reseller.TEST")
    add_binding("alice", "sibling.test")
    add_binding("stranger", "child.test")
    add_binding("nobody", "elsewhere.test")
    assert jobs.enrich() == {"enriched": 4}
    assert _ids(database, "ALICE") == ("reseller", "device-alice", "owner-1")
    assert _ids(database, "alice") == ("sibling", "device-other", None)
    assert _ids(database, "stranger") == ("child", None, None)
    assert _ids(database, "nobody") == (None, None, None)
    assert jobs.enrich() == {"enriched": 0}


def test_enrich_goes_on_until_nothing_is_left(jobs: Jobs, directory: Directory, add_binding: AddBinding) -> None:
    """More rows than one batch holds are done in one run."""
    for number in range(8):
        add_binding(f"phone{number}", "child.test")
    assert jobs.enrich() == {"enriched": 8}


def test_enrich_never_waits_for_a_sip_worker(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """A row that another transaction holds is left for the next run."""
    held = add_binding("bob", "child.test")
    add_binding("free", "child.test")
    with psycopg.connect(database.info.dsn) as sip_worker:
        sip_worker.execute("update location set cseq = 2 where ruid = %s", (held,))
        assert jobs.enrich() == {"enriched": 1}
        sip_worker.commit()
    assert jobs.enrich() == {"enriched": 1}


def test_a_row_from_before_the_migration_gets_its_first_registration(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """The earliest time that is known of it is its last REGISTER, and stays so when it refreshes."""
    registered = int(time.time()) - 100
    ruid = add_binding("bob", "child.test", first_registered_at=None, last_modified=registered)
    jobs.enrich()
    database.execute("update location set last_modified = %s where ruid = %s", (registered + 90, ruid))
    row = database.execute("select initial_registration - 62167219200 from registrations").fetchone()
    assert row == (registered,)


def test_reconcile_follows_the_directory_whoever_changed_it(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """A new device, a moved realm and a new owner show in the rows; rows that are right are not written."""
    add_binding("stranger", "child.test")
    add_binding("alice", "reseller.test")
    add_binding("bob", "child.test")
    jobs.enrich()
    assert jobs.reconcile() == {"reconciled": 0, "flushes_asked": 0}
    database.execute("insert into device (id, account_id, sip_username) values ('device-new', 'child', 'stranger')")
    database.execute("update device set owner_id = null where id = 'device-alice'")
    assert jobs.reconcile() == {"reconciled": 2, "flushes_asked": 0}
    assert _ids(database, "stranger") == ("child", "device-new", None)
    assert _ids(database, "alice") == ("reseller", "device-alice", None)
    database.execute("update account set realm = 'renamed.test' where id = 'child'")
    assert jobs.reconcile() == {"reconciled": 2, "flushes_asked": 2}
    assert _ids(database, "bob") == (None, None, None)


@pytest.fixture
def any_is_long(database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons count as long however short they are; only time never makes one due."""
    monkeypatch.setattr("sync.comparisons.SHORT_SECONDS", 0.0)
    monkeypatch.setattr("sync.comparisons.IDLE_SHARE", 1e-9)


@pytest.mark.usefixtures("any_is_long")
def test_a_long_comparison_is_left_out_while_the_directory_is_as_it_was(
    jobs: Jobs,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hand in location shows that it was; any change of the directory, or time, brings it back."""
    add_binding("bob", "child.test")
    jobs.enrich()
    for _ in range(2):
        assert jobs.reconcile() == {"reconciled": 0, "flushes_asked": 0}
    by_hand = "update location set owner_id = 'by hand'"
    for change in (
        "update device set owner_id = 'owner-1' where id = 'device-alice'",
        "update account set name = 'New' where id = 'child'",
        "create or replace function kamailio_default_realm() returns text immutable return 'a.test'",
    ):
        database.execute(by_hand.encode())
        assert jobs.reconcile() == {"reconciled": 0, "flushes_asked": 0, "skipped": 1}
        database.execute(change.encode())
        assert jobs.reconcile()["reconciled"] == 1, change
        assert _ids(database, "bob") == ("child", "device-bob", None)
        assert jobs.reconcile()["reconciled"] == 0
    database.execute(by_hand.encode())
    assert jobs.reconcile()["reconciled"] == 0
    monkeypatch.setattr("sync.comparisons.IDLE_SHARE", 1e9)
    assert jobs.reconcile()["reconciled"] == 1


@pytest.mark.usefixtures("any_is_long")
def test_a_comparison_that_left_a_row_is_no_reason_to_leave_the_next_out(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """What a SIP worker held gets the directory's word at the next turn, though the directory did not change again.

    And so does what a statement wrote that had begun before the change and ended after the first comparison.
    """
    held = add_binding("bob", "child.test")
    jobs.enrich()
    jobs.reconcile()
    database.execute("update location set owner_id = 'by hand'")
    with psycopg.connect(database.info.dsn) as sip_worker:
        sip_worker.execute("update location set cseq = 2 where ruid = %s", (held,))
        assert jobs.reconcile()["reconciled"] == 0
        sip_worker.commit()
    assert jobs.reconcile()["reconciled"] == 1
    database.execute("update account set name = 'New' where id = 'child'")
    assert jobs.reconcile()["reconciled"] == 0
    database.execute("update location set owner_id = 'late'")
    assert jobs.reconcile()["reconciled"] == 1


@pytest.mark.usefixtures("any_is_long")
def test_a_change_that_is_committed_late_is_not_missed(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """It is counted when it is made, and comparisons go on until its transaction has ended."""
    add_binding("bob", "child.test")
    jobs.enrich()
    with psycopg.connect(database.info.dsn) as slow:
        slow.execute("delete from device where id = 'device-bob'")
        for _ in range(4):
            assert jobs.reconcile() == {"reconciled": 0, "flushes_asked": 0}
        slow.commit()
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}


def _asked(database: psycopg.Connection) -> set[tuple[Any, ...]]:
    """Account, username and cause of each flush, and the ruid of its binding."""
    return set(
        database.execute(
            "select f.account_id, f.username, f.cause, b.ruid from flush f join flush_binding b on b.flush_id = f.id"
        )
    )


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("update device set ha1 = repeat('0', 32) where id = 'device-bob'", "credentials"),
        ("update device set enabled = false where id = 'device-bob'", "disabled"),
        ("update account set enabled = false where id = 'child'", "disabled"),
        ("delete from device where id = 'device-bob'", "deleted"),
        ("update device set sip_username = 'robert' where id = 'device-bob'", "deleted"),
        ("update account set realm = 'renamed.test' where id = 'child'", "deleted"),
        ("update device set account_id = 'sibling', sip_realm = 'child2.test' where id = 'device-bob'", "deleted"),
        (
            "update account set realm = 'x.test' where id = 'child'; "
            "update account set realm = 'child.test' where id = 'sibling'",
            "deleted",
        ),
    ],
    ids=["password", "disabled", "account-disabled", "deleted", "renamed", "realm-renamed", "moved", "realm-moved"],
)
def test_who_may_not_be_registered_any_more_is_flushed(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection, change: str, cause: str
) -> None:
    """Whoever changed the directory: one flush of bob's binding, of the account that it was in, and only one."""
    ruid = add_binding("BOB", "child.test")
    add_binding("alice", "reseller.test")
    jobs.enrich()
    database.execute(change)
    assert jobs.reconcile()["flushes_asked"] == 1
    assert _asked(database) == {("child", "bob", cause, ruid)}
    assert jobs.reconcile() == {"reconciled": 0, "flushes_asked": 0}


@pytest.mark.parametrize(
    "change",
    [
        "insert into owner (id, account_id) values ('o', 'child'); "
        "update device set owner_id = 'o' where id = 'device-bob'",
        "update device set id = 'device-robert' where id = 'device-bob'",
        "update device set name = 'desk', presence_id = '7' where id = 'device-bob'",
        "update device set sip_username = 'Bob' where id = 'device-bob'",
        "update device set ha1 = ha1 where id = 'device-bob'",
        "update account set name = 'Renamed' where id = 'child'",
    ],
    ids=["owner", "device-id", "facts", "case", "same-password", "account-name"],
)
def test_a_change_that_concerns_no_phone_flushes_nobody(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection, change: str
) -> None:
    """The phone is the same, and may be registered as before: its row is enriched anew at the most."""
    add_binding("bob", "child.test")
    jobs.enrich()
    database.execute(change)
    assert jobs.reconcile()["flushes_asked"] == 0
    row = database.execute("select device_id, owner_id from location").fetchone()
    assert row == database.execute("select id, owner_id from device where account_id = 'child'").fetchone()


def test_a_device_that_keeps_its_aor_in_another_account_is_flushed(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """A realm of the device's own goes with it; the flush is the account's that it was in."""
    database.execute(
        "insert into device (id, account_id, sip_username, sip_realm) values ('d', 'child', 'carol', 'own.test')"
    )
    ruid = add_binding("carol", "own.test")
    jobs.enrich()
    database.execute("update device set account_id = 'sibling' where id = 'd'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}
    assert _asked(database) == {("child", "carol", "moved", ruid)}


def test_a_first_import_flushes_nobody(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """Neither who was registered before the directory knew them, nor rows from before devices had a state."""
    add_binding("stranger", "new.test")
    add_binding("bob", "child.test")
    jobs.enrich()
    database.execute("update location set device_state = null where username = 'bob'")
    database.execute("insert into account (id, name, realm) values ('new', 'New', 'new.test')")
    database.execute("insert into device (id, account_id, sip_username) values ('device-new', 'new', 'stranger')")
    assert jobs.reconcile() == {"reconciled": 2, "flushes_asked": 0}
    database.execute("update device set ha1 = repeat('0', 32) where id = 'device-new'")
    assert jobs.reconcile()["flushes_asked"] == 0, "a first password is no new one"


def test_who_is_enabled_again_is_not_flushed(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """Only the way down is."""
    database.execute("update device set enabled = false where id = 'device-bob'")
    add_binding("bob", "child.test", last_modified=int(time.time()) + 2)
    jobs.enrich()
    database.execute("update device set enabled = true where id = 'device-bob'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 0}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("update device set enabled = false where id = 'device-bob'", "disabled"),
        ("update account set enabled = false where id = 'child'", "disabled"),
        ("update device set ha1 = repeat('0', 32) where id = 'device-bob'", "credentials"),
    ],
    ids=["disabled", "account-disabled", "password"],
)
@pytest.mark.parametrize("enriched_before", [False, True], ids=["not-enriched", "enriched-by-an-older-release"])
def test_a_change_before_the_first_enrichment_flushes_as_well(
    jobs: Jobs,
    directory: Directory,
    add_binding: AddBinding,
    database: psycopg.Connection,
    change: str,
    cause: str,
    enriched_before: bool,
) -> None:
    """The row came late (db_mode 2), or the worker was away: the REGISTER is from before the change all the same."""
    ruid = add_binding("bob", "child.test", last_modified=int(time.time()) - 5)
    if enriched_before:
        jobs.enrich()
        database.execute("update location set device_state = null")
    database.execute(change)
    jobs.enrich()
    assert jobs.reconcile()["flushes_asked"] == 1
    assert _asked(database) == {("child", "bob", cause, ruid)}


def test_a_realm_by_the_sites_settings_is_no_change_of_a_device(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """use_domain=0: another default realm takes nobody's registration away."""
    default = (
        "create or replace function kamailio_default_realm() returns text language sql immutable return '{}'::text"
    )
    database.execute(default.format("child.test"))
    add_binding("bob", None)
    add_binding("stranger", None)
    jobs.enrich()
    database.execute(default.format("sibling.test"))
    assert jobs.reconcile() == {"reconciled": 2, "flushes_asked": 0}
    database.execute("delete from device where id = 'device-bob'")
    database.execute(default.format("child.test"))
    assert jobs.reconcile()["flushes_asked"] == 0, "rows that lost their device by the setting had none to lose"


def test_a_name_that_goes_to_another_device_is_no_longer_the_first_ones(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """The first device is called otherwise now; the phone that is registered is still that one."""
    ruid = add_binding("bob", "child.test")
    jobs.enrich()
    database.execute("update device set sip_username = 'robert', ha1 = null where id = 'device-bob'")
    database.execute("insert into device (id, account_id, sip_username) values ('device-2', 'child', 'bob')")
    assert jobs.reconcile()["flushes_asked"] == 1
    assert {(row[1], row[3]) for row in _asked(database)} == {("bob", ruid)}


def test_a_phone_that_registered_with_the_new_password_stays(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """Its REGISTER is later than the change: nobody could have sent it with the old one."""
    add_binding("bob", "child.test", last_modified=int(time.time()) + 5)
    jobs.enrich()
    database.execute("update device set ha1 = repeat('0', 32) where id = 'device-bob'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 0}


def test_many_changes_at_once_flush_each_phone_once(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """More rows than one batch holds; two phones of one device are one flush."""
    for _ in range(2):
        for number in range(4):
            add_binding(f"phone{number}", "child.test")
    database.execute(
        "insert into device (id, account_id, sip_username) select 'd' || n, 'child', 'phone' || n "
        "from generate_series(0, 3) n"
    )
    jobs.enrich()
    database.execute("delete from device where id like 'd_'")
    assert jobs.reconcile()["flushes_asked"] == 8
    assert {(row[1], row[2]) for row in _asked(database)} == {(f"phone{number}", "deleted") for number in range(4)}
    assert len(_asked(database)) == 8


def test_expire_removes_only_what_is_long_dead(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """Rows past the grace time go; live, permanent and lately expired ones stay."""
    now = int(time.time())
    for number in range(4):
        add_binding(f"dead{number}", "child.test", expires=now - 3700)
    add_binding("lately", "child.test", expires=now - 3500)
    add_binding("permanent", "child.test", expires=0)
    add_binding("live", "child.test")
    assert jobs.expire()["expired"] == 4
    left = {row[0] for row in database.execute("select username from location")}
    assert left == {"lately", "permanent", "live"}


def test_expire_forgets_the_sources_of_bindings_that_are_gone(
    jobs: Jobs, directory: Directory, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """One whose row may still come (mode 2 writes late) is kept for an hour."""
    ruid = add_binding("bob", "child.test")
    gone = [f"gone-{number}" for number in range(50)]
    ages = [(ruid, 2 * DAY), ("to-come", 3500), *((each, 3700) for each in gone), ("clock-set-back", -365 * DAY)]
    for source, age in ages:
        database.execute(
            "insert into registration_source (ruid, received, updated_at)"
            " values (%s, 'sip:192.0.2.1:5060', now() - make_interval(secs => %s))",
            (source, age),
        )
    assert jobs.expire()["sources_expired"] == 51
    assert {row[0] for row in database.execute("select ruid from registration_source")} == {ruid, "to-come"}


def test_expire_removes_tokens_that_died_of_disuse(
    jobs: Jobs, directory: Directory, database: psycopg.Connection
) -> None:
    """Those that live stay, and so do those that never die, however long they were not used."""
    database.execute("update auth_token set last_used_at = now() - interval '1 year'")
    database.execute("update auth_token set idle_lifetime = '1 hour' where account_id in ('child', 'sibling')")
    database.execute("update auth_token set last_used_at = now() - interval '59 minutes' where account_id = 'child'")
    assert jobs.expire()["tokens_expired"] == 1
    left = {row[0] for row in database.execute("select account_id from auth_token")}
    assert left == {"admin", "reseller", "child"}


def test_the_worker_reads_no_secret_of_a_token(
    jobs: Jobs, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> None:
    """Its role sees when a token was used, and neither its hash nor whose it is."""
    with psycopg.connect(postgres.url(database.info.dbname, user="registrations_sync"), autocommit=True) as connection:
        for column in ("token_hash", "account_id", "restrictions"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select {column} from auth_token")


def test_a_job_ends_early_when_the_worker_is_to_stop(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding, database_url: str
) -> None:
    """No batch is begun once the flag is set."""
    add_binding("bob", "child.test")
    stopping = threading.Event()
    stopping.set()
    with Database(DatabaseSettings(database_url=database_url), application_name="test", pool_size=1) as pool:
        assert Jobs(pool, Nodes(KamailioSettings()), SyncSettings(), stopping=stopping).enrich() == {"enriched": 0}
