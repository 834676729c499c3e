"""One connection to PostgreSQL that waits no longer than it is told, and takes no commit that could still be lost."""

from contextlib import suppress
from typing import Self

import psycopg
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.pq.abc import PGconn
from psycopg.rows import TupleRow

from sql.connections.login import log_in

# For telling the server that its answer is wanted no more.
CANCEL_SECONDS = 0.5
# PostgreSQL's function that warns of a commit whose wait for a synchronous standby was cut short.
WAITS_FOR_STANDBY = "SyncRepWaitForLSN"

Connection = psycopg.Connection[TupleRow]


class BoundedConnection(Connection):
    """psycopg's, but it gives a server up that does not answer in time, and takes no commit that could still be lost.

    PostgreSQL itself keeps no time limit while a commit waits for a synchronous standby, nor when it is frozen.
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
        """Make one attempt at one host, as psycopg does, which tells no refused login from an outage."""
        return cls((yield from log_in(conninfo)))

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait as psycopg does, for ``answer_timeout`` seconds where the caller names none.

        Raises:
            OperationalError: no answer in time, and the connection is closed; or a commit that its synchronous standby
                may not have. Either may be in the database all the same.
        """
        try:
            result = super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:  # not PostgreSQL's word: it is silent, or gone
                with suppress(psycopg.Error):  # a session that went on waiting would keep its place, and what it locks
                    self.cancel_safe(timeout=CANCEL_SECONDS)
                self.close()
            raise
        if self._unreplicated:
            self._unreplicated = False
            raise psycopg.OperationalError("the wait of a commit for its synchronous standby was cut short")
        return result

    def is_read_only(self) -> bool:
        """Whether PostgreSQL said so with its last answer. A pooler between may not pass that on."""
        reported = map(self.info.parameter_status, ("in_hot_standby", "default_transaction_read_only"))
        return "on" in reported
