"""What a node has to be asked about flushes, and what follows from its answers: the retries that keep the promise."""

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

# usrloc's timer comes by now and then; a row that it is to remove need not be looked at all the time.
LATE_RECHECK_SECONDS = 10.0

# Bindings between two steps that are told, and seconds between two tries while nothing moves.
STEP = 500
WAIT_SECONDS = 0.5

Answer = Outcome | KamailioError | RowHeld

log = logging.getLogger(__name__)


class Flusher:
    """Carries out what is pending at each node. A node that does not answer is left alone for a growing pause.

    Not to be used for one node by several threads at once.
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
        """Ask a node about what is due there.

        Args:
            node: one of the nodes' ids.
            limit: bindings at the most.
            flush_id: only about this flush, and whether it is due or not.
            stopping: asked before the node is.

        Returns:
            How many bindings it has no more, how many had registered again, how many rows were deleted.

        Raises:
            DatabaseUnreachable: what the node did is not noted, and will be asked for again.
        """
        counts = {"flushed": 0, "superseded": 0, "rows_deleted": 0}
        if stopping() or monotonic() < self._not_before.get(node, 0.0):
            return counts
        with self._database.connection() as connection:
            due = find_due(connection, self._set(), node, limit=limit, flush_id=flush_id)
        if not due:
            return counts
        mode = self._nodes.mode(node)
        if mode not in (1, 3):  # what a row says may be from before the flush
            due = [replace(binding, registered_again=False, newcomers=()) for binding in due]
        with self._database.connection() as connection:
            # Whoever asked may have died before he came to it. What somebody holds is hidden the next time.
            shown = [binding.id for binding in due if binding.shown and not binding.registered_again]
            hide_bindings(connection, shown, wait=False)
        asked = [binding for binding in due if not binding.registered_again]
        answers = iter(self._outcomes(node, asked, mode=mode) if asked else [])
        outcomes = [Outcome.NEWER if binding.registered_again else next(answers) for binding in due]
        self._pause(node, outcomes)
        with self._database.connection() as connection:
            return self._note(connection, node, list(zip(due, outcomes, strict=True)), mode=mode)

    def _set(self) -> NodeSet:
        return NodeSet(self._nodes.ids, self._nodes.replicated)

    def _outcomes(self, node: int, due: list[Binding], *, mode: int | None) -> list[Answer]:
        if mode == 3:  # the table is the memory
            with self._database.connection() as connection:
                left = remove_rows(connection, [binding.id for binding in due])
            states: dict[int, Answer] = dict.fromkeys(left.newer, Outcome.NEWER)
            states |= dict.fromkeys(left.held, RowHeld("somebody holds the row"))
            return [states.get(binding.id, Outcome.GONE) for binding in due]
        budget = self._settings.sync_flush_budget
        answer = self._nodes.on_each([node], lambda _, client: remove_unchanged(client, due, budget=budget))[node]
        return [answer] * len(due) if isinstance(answer, KamailioError) else list(answer)

    def carry_out(self, flush: Flush, *, patience: float, progress: Callable[[int], None]) -> Pending:
        """Go through one flush until every node has confirmed, or nothing moves any more.

        Args:
            flush: was just asked for.
            patience: seconds to wait where nothing moves: the worker, or a node, may come round.
            progress: is told how many bindings more are confirmed.

        Returns:
            What is not.
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
        failed = {binding.id: outcome for binding, outcome in pairs if not isinstance(outcome, Outcome)}
        flushes: dict[str, Exception | None] = dict.fromkeys(
            binding.flush_id for binding, _ in pairs if binding.settled_for is None
        )
        for binding, outcome in pairs:
            if not isinstance(outcome, Outcome) and binding.flush_id in flushes:
                flushes[binding.flush_id] = outcome
        # A row goes once memory is clean of its binding. Where usrloc writes late, or where the row may be that of a
        # node we do not know of, it is given the time to remove it itself. In db_mode 3 the table is the memory.
        late = mode not in (1, 3)
        left = [
            binding.id
            for binding in gone
            if binding.settled_for is not None
            and (
                mode == 3
                or (mode == 1 and binding.server_id in self._nodes.ids)
                or binding.settled_for >= self._settings.sync_flush_grace
            )
        ]
        deleted = delete_left_rows(connection, left)
        note_answers(
            connection,
            self._set(),
            Answers(
                node=node,
                flushes=flushes,
                gone=[binding.id for binding in gone],
                newer=newer,
                # A node that does not answer gets a pause as a whole: others may be asked about the same bindings.
                failed=[record for record, error in failed.items() if not isinstance(error, KamailioUnreachable)],
            ),
            recheck=LATE_RECHECK_SECONDS if late else 1.0,
            longest_pause=self._settings.sync_flush_longest_pause,
        )
        _log_progress(connection, node, pairs, flushes)
        settled = sum(binding.settled_for is None for binding in gone)
        return {"flushed": settled, "superseded": len(newer), "rows_deleted": deleted}

    def _pause(self, node: int, outcomes: list[Answer]) -> None:
        unreachable = next((each for each in outcomes if isinstance(each, KamailioUnreachable)), None)
        if unreachable is None:
            if self._pauses.pop(node, None) is not None:
                log.info("node is back", extra={"action": "flush", "server_id": node})
            return
        if node not in self._pauses:
            facts = {"action": "flush", "server_id": node, "cause": str(unreachable)}
            log.warning("node does not answer, flushes wait", extra=facts)
        pause = min(self._pauses.get(node, 0.5) * 2, self._settings.sync_flush_longest_pause)
        self._pauses[node] = pause
        self._not_before[node] = monotonic() + pause


def _log_progress(
    connection: Connection, node: int, pairs: list[tuple[Binding, Answer]], flushes: dict[str, Exception | None]
) -> None:
    """Tell of each flush how far it came, with the HTTP request that asked for it."""
    moved: dict[str, dict[str, int]] = {}
    for binding, outcome in pairs:
        if isinstance(outcome, Outcome) and binding.flush_id in flushes:
            what = "flushed" if outcome is Outcome.GONE else "superseded"
            counts = moved.setdefault(binding.flush_id, {"flushed": 0, "superseded": 0})
            counts[what] += binding.ruid is not None  # not what stands for the rest of an AoR
    if moved:
        requests = find_request_ids(connection, list(moved))
        for flush_id, counts in moved.items():
            facts = {"flush_id": flush_id, "request_id": requests.get(flush_id), "server_id": node, **counts}
            log.info("flush goes on", extra={"action": "flush", **facts})
