"""A connection to PostgreSQL that has a time limit, and fails a commit that could still be lost."""

from contextlib import suppress
from typing import Self

import psycopg
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow

from sql.connections.login import log_in

# Time limit of a cancel request.
CANCEL_SECONDS = 0.5
# PostgreSQL's function that warns if a commit stops waiting for its synchronous standby.
WAITS_FOR_STANDBY = "SyncRepWaitForLSN"

Connection = psycopg.Connection[TupleRow]


class BoundedConnection(Connection):
    """psycopg's connection, with a time limit for each answer, and an error for a commit that could still be lost.

    PostgreSQL's own limits do not apply while a commit waits for a synchronous standby, nor while it is frozen.
    """

    answer_timeout: float | None = None

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self._unreplicated = False
        self.add_notice_handler(self._note_unreplicated)

    def _note_unreplicated(self, notice: psycopg.errors.Diagnostic) -> None:
        self._unreplicated |= notice.source_function == WAITS_FOR_STANDBY

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """Make one attempt at one host, as psycopg does, but distinguish a refused login from an outage."""
        return cls((yield from log_in(conninfo)))

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait as psycopg does, for ``answer_timeout`` seconds unless the caller gives a limit.

        Raises:
            OperationalError: no answer in time, and the connection is closed; or the synchronous standby may not have
                the commit. In either case the statement may have taken effect.
        """
        try:
            result = super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:  # PostgreSQL is silent or gone
                with suppress(psycopg.Error):  # a session that waits on keeps its slot and its locks
                    self.cancel_safe(timeout=CANCEL_SECONDS)
                self.close()
            raise
        if self._unreplicated:
            self._unreplicated = False
            raise psycopg.OperationalError("a commit stopped waiting for its synchronous standby")
        return result

    def is_read_only(self) -> bool:
        """Whether PostgreSQL reported so with its last answer. A pooler may not pass that on."""
        reported = map(self.info.parameter_status, ("in_hot_standby", "default_transaction_read_only"))
        return "on" in reported
