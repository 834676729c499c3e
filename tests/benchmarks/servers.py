"""The API server: numbers of processes and threads, and a thousand clients at once."""

from __future__ import annotations

import selectors
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import Any

from tests.benchmarks.bed import HOST, Bed
from tests.benchmarks.clients import pace, request_bytes
from tests.benchmarks.figures import Figure, Outcome, measures
from tests.benchmarks.lists import main_database, registrations

SERVERS = Figure(
    name="servers",
    title="counts and lists of 200 per second, two to one: 2 processes of 8 threads (default) / best of the others",
    unit="/s",
)
CLIENTS = Figure(
    name="clients-1000",
    title="1,000 clients at once, each a count: answered 200, or 503 with Retry-After",
    unit="%",
    goal=100,
    at_least=True,
)
CLIENTS_LOCKED = Figure(
    name="clients-1000-locked",
    title="the same while the table is locked: answered 503 with Retry-After",
    unit="%",
    goal=100,
    at_least=True,
)
# Processes and threads. The first pair is the default.
THREADED = ((2, 8), (1, 8), (2, 4), (2, 16), (4, 4), (4, 8))
# gunicorn's other workers if they are installed (gevent is not a dependency: install it first), with processes.
OTHERS = tuple((kind, number) for kind in ("sync", "gevent") for number in (2, 4) if kind == "sync" or find_spec(kind))
PATIENCE = 30.0


def _candidates() -> Iterator[tuple[str, dict[str, Any]]]:
    for workers, threads in THREADED:
        yield f"{workers} x {threads}", {"api_workers": workers, "api_threads": threads}
    for kind, number in OTHERS:
        command = [sys.executable, "-m", "gunicorn", "api.wsgi:app", "--no-control-socket", "-k", kind, "-w", number]
        yield f"{kind} {number}", {"command": [str(part) for part in command]}


@measures(SERVERS)
def servers(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    listed = request_bytes(registrations("a200-1"), bed.tokens[name])
    counted = request_bytes(f"{registrations('a200-1')}/count", bed.tokens[name])
    rates: dict[str, list[float]] = {}
    candidates = list(_candidates())
    with bed.saying("processes, threads and other workers"):
        for _ in range(bed.rounds(3)):
            for label, options in candidates if bed.scale >= 0.05 else [candidates[0], candidates[-1]]:
                with bed.api(name, **options) as server:
                    pace(server.port, [counted], clients=16, seconds=bed.seconds(1))  # connections to PostgreSQL
                    measured = pace(server.port, [counted, listed, counted], clients=16, seconds=bed.seconds(3))
                rates.setdefault(label, []).append(measured.per_second)
    bed.tables["servers"] = {"unit": "answers per second", "rates": rates}
    default, *others = rates.values()
    best = max(others, key=median)
    note = ", ".join(f"{label}: {median(rounds):.0f}" for label, rounds in rates.items())
    yield Outcome(figure=SERVERS, ours=default, reference=best, note=note)


@measures(CLIENTS, CLIENTS_LOCKED)
def clients(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    number = max(50, bed.rows(1000))
    request = request_bytes(f"{registrations('a200-1')}/count", bed.tokens[name])
    request = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    queue, statement = bed.seconds(10), bed.seconds(5)  # the defaults
    with (
        bed.api(name, api_queue_timeout=queue, database_statement_timeout=statement) as server,
        bed.connect(name) as connection,
    ):
        said, last = _ask_at_once(server.port, request, number)
        good = said["200"] + said["503 with Retry-After"]
        yield Outcome(figure=CLIENTS, ours=[100 * good / number], note=_note(said, last))
        with connection.transaction():
            connection.execute("lock table location in access exclusive mode")
            said, last = _ask_at_once(server.port, request, number)
    yield Outcome(figure=CLIENTS_LOCKED, ours=[100 * said["503 with Retry-After"] / number], note=_note(said, last))


def _ask_at_once(port: int, request: bytes, number: int) -> tuple[Counter[str], float]:
    """Let many clients ask at once; return the number of answers by status and the seconds until the last one."""
    answers: dict[socket.socket, bytes] = {}
    with selectors.DefaultSelector() as selector:
        started = perf_counter()
        for _ in range(number):
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            client.setblocking(False)
            client.connect_ex((HOST, port))
            selector.register(client, selectors.EVENT_WRITE)
            answers[client] = b""
        opened, last = number, 0.0
        while opened and perf_counter() < started + PATIENCE:
            for key, events in selector.select(0.1):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    if events & selectors.EVENT_WRITE:
                        sock.send(request)
                        selector.modify(sock, selectors.EVENT_READ)
                        continue
                    data = sock.recv(65536)
                except OSError:
                    data = b""
                answers[sock] += data
                if not data:
                    selector.unregister(sock)
                    sock.close()
                    opened, last = opened - 1, perf_counter() - started
    for one in answers:
        one.close()
    return Counter(map(_kind, answers.values())), last


def _note(said: Counter[str], last: float) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in said.items()) + f"; the last after {last:.1f} s"


def _kind(answer: bytes) -> str:
    status = answer[9:12].decode() or "none"
    return status + " with Retry-After" * (b"\r\nretry-after:" in answer.lower())
