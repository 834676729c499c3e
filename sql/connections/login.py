"""Logging in to PostgreSQL. A refused login has its SQLSTATE, which is the same in every language of the server."""

import ctypes
import re
import sys

import psycopg
from psycopg import pq
from psycopg.abc import PQGenConn
from psycopg.pq.abc import PGconn
from psycopg.pq.misc import find_libpq_full_path
from psycopg.waiting import Wait

from sql.errors import Refusal

DEFAULT, VERBOSE = 1, 2  # PGVerbosity in libpq-fe.h
# The libpq that psycopg has loaded. Its compiled module is linked with it and also resolves its symbols.
_compiled = sys.modules[pq.PGconn.__module__].__file__
_libpq = ctypes.CDLL(find_libpq_full_path() if pq.__impl__ == "python" else _compiled)

# "FATAL:  28P01: password authentication failed", as libpq's pqBuildErrorMessage3 writes it.
ANSWER = re.compile(rb":  ([0-9A-Z]{5}): (.*)")

# Classes of SQLSTATE (PostgreSQL manual, appendix A) for which a retry is no use: the role or its password is wrong or
# pg_hba.conf has no entry (28), the database does not exist (3D), the role may not connect to it or the URL sets an
# unknown parameter (42) or an invalid value (22).
REFUSED = (b"22", b"28", b"3D", b"42")

# All errors of PgBouncer's own have one SQLSTATE, 08P01, and an English text. Before 1.20 it also gave that SQLSTATE to
# errors of PostgreSQL.
POOLER = b"08P01"
REFUSED_BY_POOLER = re.compile(
    rb"authentication failed|no such (database|user)|does not exist|not permitted to log in|no pg_hba\.conf entry"
)

WAITS: dict[int, Wait] = {pq.PollingStatus.READING: Wait.R, pq.PollingStatus.WRITING: Wait.W}


def _set_verbosity(pgconn: PGconn, verbosity: int) -> None:
    """Set how verbose the error messages of a connection are.

    When a connection fails, libpq gives its caller a text and no SQLSTATE. A verbose text begins with the SQLSTATE, but
    psycopg does not wrap the function that requests it (its issue 1188).
    """
    _libpq.PQsetErrorVerbosity(ctypes.c_void_p(pgconn.pgconn_ptr), verbosity)  # type: ignore[attr-defined]


def log_in(conninfo: str) -> PQGenConn[PGconn]:
    """Connect to one host as ``psycopg.generators.connect`` does, but distinguish a refused login from an outage.

    Raises:
        Refusal: PostgreSQL refuses the login, or asks for a password and there is none.
        OperationalError: anything else.
    """
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    _set_verbosity(pgconn, VERBOSE)
    while pgconn.status != pq.ConnStatus.BAD and (wait := WAITS.get(pgconn.connect_poll())):
        while not (yield pgconn.socket, wait):
            pass
    if pgconn.status == pq.ConnStatus.OK:
        _set_verbosity(pgconn, DEFAULT)
        pgconn.nonblocking = 1
        return pgconn
    # libpq may try with and without encryption, and pg_hba.conf may have an entry for only one of them. So a single
    # answer that is no refusal means that the server is full or away.
    answers = ANSWER.findall(pgconn.error_message)
    refused = all(_refuses(*answer) for answer in answers) if answers else pgconn.needs_password
    error = (Refusal if refused else psycopg.OperationalError)(f"connection failed: {pgconn.get_error_message()}")
    pgconn.finish()
    raise error


def _refuses(sqlstate: bytes, text: bytes) -> bool:
    return sqlstate.startswith(REFUSED) or (sqlstate == POOLER and REFUSED_BY_POOLER.search(text) is not None)
