"""The worker's flushes beside somebody who holds a row: it waits for nobody, so nobody waits for it."""

from __future__ import annotations

import psycopg
import pytest

from sql.flushes.requests import request_flush
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import StartJobs

HELD = "phone-1"


@pytest.fixture
def rows(directory: Directory, add_binding: AddBinding, database: psycopg.Connection) -> None:
    """Three bindings of a flush that its client left to the worker."""
    for number in range(3):
        add_binding(f"phone-{number}", "child.test")
    assert request_flush(database, "child", cause="request", requested_by="test", lease=0, late=False)


def _usernames(database: psycopg.Connection, of: str) -> list[str]:
    return [row[0] for row in database.execute(f"select username from {of} order by username").fetchall()]


def test_in_mode_3_a_held_row_is_removed_by_the_next_run(
    rows: None, start_jobs: StartJobs, database: psycopg.Connection, database_url: str
) -> None:
    """The others are gone and confirmed while it is held; it is hidden and gone once it is free."""
    jobs = start_jobs(kamailio_db_mode=3)
    with psycopg.connect(database_url) as holder:
        holder.execute("select from location where username = %s for update", (HELD,))
        assert jobs.flush(0) == {"flushed": 2, "superseded": 0, "rows_deleted": 0}
        assert _usernames(database, "location") == [HELD]
        assert database.execute("select attempts, settled_at from flush_binding").fetchall() == [(1, None)]
        assert database.execute("select last_error, confirmed_at from flush_node").fetchall() == [
            ("RowHeld: another session has locked the row", None)
        ]
        holder.rollback()
    assert jobs.flush(0)["flushed"] == 0, "it is given a pause"
    database.execute("update flush_binding set due_at = now()")
    assert jobs.flush(0) == {"flushed": 1, "superseded": 0, "rows_deleted": 0}
    assert _usernames(database, "location") == []
    assert database.execute("select finished_at is not null from flush").fetchone() == (True,)


def test_in_mode_3_a_held_row_that_registers_stays(
    rows: None, start_jobs: StartJobs, database: psycopg.Connection, database_url: str
) -> None:
    """Who held it was a REGISTER: the next run sees that the binding is newer."""
    jobs = start_jobs(kamailio_db_mode=3)
    with psycopg.connect(database_url) as sip_worker:
        sip_worker.execute(
            "update location set last_modified = last_modified + 1, cseq = cseq + 1 where username = %s", (HELD,)
        )
        assert jobs.flush(0)["flushed"] == 2
        sip_worker.commit()
    database.execute("update flush_binding set due_at = now()")
    assert jobs.flush(0) == {"flushed": 0, "superseded": 1, "rows_deleted": 0}
    assert _usernames(database, "live_location") == [HELD]


def test_what_could_not_be_hidden_is_hidden_by_the_next_run(
    rows: None, start_jobs: StartJobs, database: psycopg.Connection, database_url: str
) -> None:
    """A node that does not answer, and a row that somebody holds: the others are in no list at once."""
    with psycopg.connect(database_url) as holder:
        holder.execute("select from location where username = %s for update", (HELD,))
        start_jobs(kamailio_db_mode=1).flush(0)
        assert _usernames(database, "live_location") == [HELD]
        holder.rollback()
    start_jobs(kamailio_db_mode=1).flush(0)
    assert _usernames(database, "live_location") == []


def test_flushes_that_found_nothing_are_soon_forgotten_and_of_the_others_the_newest_are_kept(
    start_jobs: StartJobs, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that flushes all the time fills no table; what is not finished stays, and what others asked for."""
    monkeypatch.setattr("sql.flushes.progress.KEPT_FLUSHES", 3)
    monkeypatch.setattr("sync.jobs.ROWS_AT_A_TIME", 2)
    database.execute(
        "insert into flush (id, account_id, cause, requested_by, bindings, finished_at) values "
        "('unfinished', 'child', 'request', 'child', 1, null), ('old-1', 'child', 'request', 'child', 1, now()), "
        "('old-2', 'child', 'request', 'child', 1, now()), ('other', 'sibling', 'request', 'sibling', 1, now()), "
        "('empty-1', 'child', 'request', 'child', 0, now() - interval '6 minutes'), "
        "('empty-2', 'sibling', 'request', 'sibling', 0, now() - interval '6 minutes'), "
        "('new-1', 'child', 'request', 'child', 1, now()), ('new-2', 'child', 'request', 'child', 1, now()), "
        "('lately', 'child', 'request', 'child', 0, now())"
    )
    database.execute(
        "insert into flush_binding (flush_id, username, modified_epoch, cseq, shown, due_at) "
        "values ('unfinished', 'bob', 1, 1, true, now())"
    )
    assert start_jobs().expire()["flushes_expired"] == 4
    left = database.execute("select id from flush order by position").fetchall()
    assert [flush_id for (flush_id,) in left] == ["unfinished", "other", "new-1", "new-2", "lately"]


def test_old_flushes_are_forgotten_while_a_nodes_answers_are_noted(
    rows: None, start_jobs: StartJobs, database: psycopg.Connection, database_url: str
) -> None:
    """What the answers lock is left; it goes when they are noted."""
    jobs = start_jobs(sync_flush_keep=0.0)
    database.execute("update flush_binding set expires_epoch = 1 where username = %s", (HELD,))
    database.execute("delete from location")
    with psycopg.connect(database_url) as noting:
        noting.execute("select from flush for update")
        noting.execute("select from flush_binding for update")
        assert jobs.expire()["flushes_expired"] == 0
        assert len(_usernames(database, "flush_binding")) == 3
        noting.rollback()
    jobs.expire()
    assert _usernames(database, "flush_binding") == ["phone-0", "phone-2"]
