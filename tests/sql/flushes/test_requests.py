"""Flushes in the database: asked for without anybody having to wait, confirmed node by node, never left hanging."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from sql.connections.database import Connection, Database
from sql.flushes.progress import Answers, Pending, count_pending, find_due, note_answers
from sql.flushes.requests import Flush, NodeSet, hide_bindings, request_flush
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

PAIR = NodeSet((1, 2), False)


@pytest.fixture
def connection(database: psycopg.Connection, postgres: Cluster, directory: Directory) -> Iterator[Connection]:
    """A connection with the rights of the worker's role."""
    url = postgres.url(database.info.dbname, user="registrations_sync")
    with (
        Database(DatabaseSettings(database_url=url), application_name="test", pool_size=1) as pool,
        pool.connection() as lent,
    ):
        yield lent


def _ask(connection: Connection, account: str = "child", username: str | None = None, *, late: bool = False) -> Flush:
    flush = request_flush(
        connection, account, username=username, cause="request", requested_by="test", lease=0, late=late
    )
    assert flush is not None
    hide_bindings(connection, [binding.id for binding in flush.bindings], wait=True)
    return flush


def _answer(
    connection: Connection, flush: Flush, node: int, nodes: NodeSet = PAIR, *, error: Exception | None = None
) -> None:
    ids = [binding.id for binding in flush.bindings]
    answers = Answers(node=node, flushes={flush.id: error}, gone=() if error else ids, failed=ids if error else ())
    note_answers(connection, nodes, answers, recheck=1, longest_pause=15)


def _shown(connection: Connection) -> int:
    row = connection.execute("select count(*) from live_location").fetchone()
    return row[0] if row else 0


def _is_finished(connection: Connection, flush: Flush) -> bool:
    row = connection.execute("select finished_at is not null from flush where id = %s", (flush.id,)).fetchone()
    return bool(row and row[0])


def test_a_row_that_somebody_holds_keeps_no_other_locked(
    connection: Connection, add_binding: AddBinding, database: psycopg.Connection, database_url: str
) -> None:
    """The others of its batch are hidden and free at once; it follows when it is free."""
    for number in range(20):
        add_binding(f"phone{number}", "child.test")
    flush = request_flush(connection, "child", cause="request", requested_by="test", lease=0, late=False)
    assert flush is not None
    connection.execute("set statement_timeout = '300ms'")
    with psycopg.connect(database_url) as holder:
        holder.execute("select from location where username = 'phone19' for update")
        with pytest.raises(psycopg.errors.QueryCanceled):
            hide_bindings(connection, [binding.id for binding in flush.bindings], wait=True)
        database.execute("set lock_timeout = '50ms'")
        database.execute("update location set q = 1 where username <> 'phone19'")
        assert _shown(connection) == 1
        holder.rollback()
    hide_bindings(connection, [binding.id for binding in flush.bindings], wait=True)
    assert _shown(connection) == 0


def test_where_rows_lag_all_before_the_second_of_the_request_is_hidden(
    connection: Connection, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """usrloc's timer writes a refresh from before the flush (db_mode 2): hidden; one of that second or later shows."""
    now = int(time.time())
    add_binding("bob", "child.test", last_modified=now - 100)
    flush = _ask(connection, late=True)
    asked = next(binding.modified_epoch for binding in flush.bindings)
    for modified, cseq, shown in ((now - 100, 1, 0), (asked - 1, 7, 0), (asked, 8, 1), (asked + 1, 9, 1)):
        database.execute("update location set last_modified = %s, cseq = %s", (modified, cseq))
        assert _shown(connection) == shown, modified


def test_a_second_flush_of_what_is_pending_is_pending_too(connection: Connection, add_binding: AddBinding) -> None:
    """It shows no more, but its node has not confirmed: nobody is told that all is done."""
    add_binding("bob", "child.test")
    first = _ask(connection)
    second = _ask(connection)
    assert (first.shown, second.shown) == (1, 0)
    assert count_pending(connection, second.id) == Pending(shown=0, bindings=1, unsettled=1)


def test_nodes_are_asked_apart(connection: Connection, add_binding: AddBinding) -> None:
    """Of a binding whose node is not known each is asked, whatever became of it at the other."""
    add_binding("bob", "child.test", server_id=9)
    flush = _ask(connection)
    _answer(connection, flush, 1)
    assert [binding.id for binding in find_due(connection, PAIR, 2, limit=10)] == [flush.bindings[0].id]
    assert find_due(connection, PAIR, 1, limit=10) == []
    assert not _is_finished(connection, flush)
    _answer(connection, flush, 2)
    assert _is_finished(connection, flush)


def test_a_node_that_is_none_any_more_is_not_waited_for(connection: Connection, add_binding: AddBinding) -> None:
    """It was taken out of the setting while a flush waited for it: the others are asked once more, and that is all."""
    add_binding("bob", "child.test", server_id=9)
    flush = _ask(connection)
    _answer(connection, flush, 1)
    left = NodeSet((1,), False)
    assert len(find_due(connection, left, 1, limit=10)) == 1
    _answer(connection, flush, 1, left)
    assert _is_finished(connection, flush)


def test_without_domains_a_flush_is_of_the_own_realm_only(
    connection: Connection, add_binding: AddBinding, database: psycopg.Connection
) -> None:
    """use_domain=0: to Kamailio an equal username of another realm would be the one that is registered."""
    database.execute(
        "create or replace function kamailio_default_realm() returns text language sql immutable "
        "return 'sibling.test'::text"
    )
    database.execute("insert into device (id, account_id, sip_username) values ('d', 'child', 'alice')")
    add_binding("alice", None)
    nothing = request_flush(
        connection, "child", username="alice", cause="request", requested_by="test", lease=0, late=True
    )
    assert nothing is None
    assert [binding.username for binding in _ask(connection, "sibling", "alice").bindings] == ["alice"]


def test_no_plan_of_a_flush_is_kept(connection: Connection, add_binding: AddBinding) -> None:
    """One made while the tables were small would compare all with all when they are large."""
    for number in range(12):
        add_binding(f"phone{number}", "child.test")
        _answer(connection, _ask(connection), 1)
        find_due(connection, PAIR, 1, limit=10)
    kept = connection.execute("select statement from pg_prepared_statements").fetchall()
    assert [row[0] for row in kept if "flush_binding" in row[0]] == []


def test_a_username_that_is_not_ascii_goes_out_as_it_is_stored(connection: Connection, add_binding: AddBinding) -> None:
    """Plain UTF-8, also what would be other text as Latin-1."""
    for username in ("caf\xe9", "caf\xc3\xa9", "\u0421\u0432\u0435\u0442\u0430"):
        add_binding(username, "child.test")
    assert {binding.username for binding in _ask(connection).bindings} == {
        "caf\xe9",
        "caf\xc3\xa9",
        "\u0421\u0432\u0435\u0442\u0430",
    }
