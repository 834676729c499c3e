"""Retries of flushes until every node has confirmed: this keeps the promise."""

import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic, sleep

from kamailio.bindings import Outcome
from kamailio.errors import KamailioError, KamailioUnreachable
from kamailio.nodes import Nodes
from kamailio.removal import remove_unchanged
from sql.connections.database import Connection, Database
from sql.errors import RowHeld
from sql.flushes.progress import (
    Answers,
    Pending,
    count_pending,
    delete_left_rows,
    find_due,
    find_request_ids,
    note_answers,
    remove_rows,
)
from sql.flushes.requests import Binding, Flush, NodeSet, hide_bindings
from sync.settings import SyncSettings

# usrloc's timer removes the row some time later, so checking it more often is no use.
LATE_RECHECK_SECONDS = 10.0

# Bindings for each step of progress, and seconds between two attempts without progress.
STEP = 500
WAIT_SECONDS = 0.5

Answer = Outcome | KamailioError | RowHeld

log = logging.getLogger(__name__)


class Flusher:
    """Carries out what is pending at each node. Backs off from a node that does not answer.

    Several threads may not use it for the same node at once.
    """

    def __init__(self, database: Database, nodes: Nodes, settings: SyncSettings) -> None:
        self._database = database
        self._nodes = nodes
        self._settings = settings
        self._pauses: dict[int, float] = {}
        self._not_before: dict[int, float] = {}

    def run(
        self, node: int, *, limit: int, flush_id: str | None = None, stopping: Callable[[], bool] = lambda: False
    ) -> dict[str, int]:
        """Carry out what is due at a node.

        Args:
            node: one of the nodes' ids.
            limit: maximum of bindings.
            flush_id: only this flush, due or not.
            stopping: called first; True ends the run.

        Returns:
            The numbers of bindings flushed, of bindings that had registered again, and of rows deleted.

        Raises:
            DatabaseUnreachable: the node's answers are not stored, so a later run asks again.
        """
        counts = {"flushed": 0, "superseded": 0, "rows_deleted": 0}
        if stopping() or monotonic() < self._not_before.get(node, 0.0):
            return counts
        nodes = self._set()
        with self._database.connection() as connection:
            due = find_due(connection, nodes, self._nodes.server_id(node), limit=limit, flush_id=flush_id)
        if not due:
            return counts
        mode = self._nodes.mode(node)
        if mode not in (1, 3):  # rows may be older than the flush
            due = [replace(binding, registered_again=False, newcomers=()) for binding in due]
        with self._database.connection() as connection:
            # The requester may have died before it could hide them. Locked rows are hidden the next time.
            shown = [binding.id for binding in due if binding.shown and not binding.registered_again]
            hide_bindings(connection, shown, wait=False)
        asked = [binding for binding in due if not binding.registered_again]
        answers = iter(self._outcomes(node, asked, mode=mode) if asked else [])
        outcomes = [Outcome.NEWER if binding.registered_again else next(answers) for binding in due]
        self._pause(node, outcomes)
        with self._database.connection() as connection:
            return self._note(connection, node, list(zip(due, outcomes, strict=True)), mode=mode)

    def _set(self) -> NodeSet:
        return NodeSet(tuple(map(self._nodes.server_id, self._nodes.ids)), self._nodes.replicated)

    def _outcomes(self, node: int, due: list[Binding], *, mode: int | None) -> list[Answer]:
        if mode == 3:  # the table is the memory
            with self._database.connection() as connection:
                left = remove_rows(connection, [binding.id for binding in due])
            states: dict[int, Answer] = dict.fromkeys(left.newer, Outcome.NEWER)
            states |= dict.fromkeys(left.held, RowHeld("another session has locked the row"))
            return [states.get(binding.id, Outcome.GONE) for binding in due]
        budget = self._settings.sync_flush_budget
        answer = self._nodes.on_each([node], lambda _, client: remove_unchanged(client, due, budget=budget))[node]
        return [answer] * len(due) if isinstance(answer, KamailioError) else list(answer)

    def carry_out(self, flush: Flush, *, patience: float, progress: Callable[[int], None]) -> Pending:
        """Carry out one flush until every node has confirmed, or there is no more progress.

        Args:
            flush: was just requested.
            patience: seconds to wait without progress: the worker may do its part, or a node may come back.
            progress: called with the number of bindings newly confirmed.

        Returns:
            What is not confirmed.
        """
        deadline, before = monotonic() + patience, Pending(flush.shown, len(flush.bindings), len(flush.bindings))
        while True:
            for node in self._nodes.ids:
                self.run(node, limit=STEP, flush_id=flush.id)
            with self._database.connection() as connection:
                left = count_pending(connection, flush.id)
            progress(before.shown - left.shown)
            if not left.unsettled or (left == before and monotonic() >= deadline):
                return left
            if left == before:
                sleep(WAIT_SECONDS)
            before = left

    def _note(
        self,
        connection: Connection,
        node: int,
        pairs: list[tuple[Binding, Answer]],
        *,
        mode: int | None,
    ) -> dict[str, int]:
        gone = [binding for binding, outcome in pairs if outcome is Outcome.GONE]
        newer = [binding.id for binding, outcome in pairs if outcome is Outcome.NEWER]
        failed = [(binding, outcome) for binding, outcome in pairs if not isinstance(outcome, Outcome)]
        errors = {binding.flush_id: error for binding, error in failed}
        flushes: dict[str, Exception | None] = {
            binding.flush_id: errors.get(binding.flush_id) for binding, _ in pairs if binding.settled_for is None
        }
        # Delete a row once no memory has its binding. If usrloc writes late, or an unknown node may own the row, give
        # usrloc time to delete it. In db_mode 3 the table is the memory.
        late, nodes = mode not in (1, 3), self._set()
        left = [
            binding.id
            for binding in gone
            if binding.settled_for is not None
            and (
                mode == 3
                or (mode == 1 and binding.server_id in nodes.ids)
                or binding.settled_for >= self._settings.sync_flush_grace
            )
        ]
        deleted = delete_left_rows(connection, left)
        note_answers(
            connection,
            nodes,
            Answers(
                node=self._nodes.server_id(node),
                flushes=flushes,
                gone=[binding.id for binding in gone],
                newer=newer,
                # Not those of an unreachable node, which has its own back-off: other nodes may be asked meanwhile.
                failed=[binding.id for binding, error in failed if not isinstance(error, KamailioUnreachable)],
            ),
            recheck=LATE_RECHECK_SECONDS if late else 1.0,
            longest_pause=self._settings.sync_flush_longest_pause,
        )
        _log_progress(connection, self._nodes.server_id(node), pairs, flushes)
        settled = sum(binding.settled_for is None for binding in gone)
        return {"flushed": settled, "superseded": len(newer), "rows_deleted": deleted}

    def _pause(self, node: int, outcomes: list[Answer]) -> None:
        unreachable = next((each for each in outcomes if isinstance(each, KamailioUnreachable)), None)
        if unreachable is None:
            if self._pauses.pop(node, None) is not None:
                log.info("node reachable again", extra={"action": "flush", "server_id": self._nodes.server_id(node)})
            return
        if node not in self._pauses:
            facts = {"action": "flush", "server_id": self._nodes.server_id(node), "cause": str(unreachable)}
            log.warning("node unreachable, flushes delayed", extra=facts)
        pause = min(self._pauses.get(node, 0.5) * 2, self._settings.sync_flush_longest_pause)
        self._pauses[node] = pause
        self._not_before[node] = monotonic() + pause


def _log_progress(
    connection: Connection, server_id: int, pairs: list[tuple[Binding, Answer]], flushes: dict[str, Exception | None]
) -> None:
    """Log the progress of each flush, with the ID of the HTTP request that requested it."""
    moved: dict[str, dict[str, int]] = {}
    for binding, outcome in pairs:
        if isinstance(outcome, Outcome) and binding.flush_id in flushes:
            what = "flushed" if outcome is Outcome.GONE else "superseded"
            counts = moved.setdefault(binding.flush_id, {"flushed": 0, "superseded": 0})
            counts[what] += binding.ruid is not None  # without the record that stands for the rest of an AoR
    if moved:
        requests = find_request_ids(connection, list(moved))
        for flush_id, counts in moved.items():
            facts = {"flush_id": flush_id, "request_id": requests.get(flush_id), "server_id": server_id, **counts}
            log.info("flush progress", extra={"action": "flush", **facts})
