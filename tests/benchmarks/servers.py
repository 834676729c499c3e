"""The server itself: how many processes and threads, and a thousand clients at once."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from time import perf_counter

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
# Processes and threads; the first are the defaults.
GRID = ((2, 8), (1, 8), (1, 16), (2, 2), (2, 4), (2, 16), (3, 4), (4, 4), (4, 8))
PATIENCE = 30.0


@measures(SERVERS)
def servers(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    listed = request_bytes(registrations("a200-1"), bed.tokens[name])
    counted = request_bytes(f"{registrations('a200-1')}/count", bed.tokens[name])
    rates: dict[str, list[float]] = {}
    with bed.saying("processes and threads"):
        for _ in range(bed.rounds(3)):
            for workers, threads in GRID if bed.scale >= 0.05 else GRID[:2]:
                with bed.api(name, api_workers=workers, api_threads=threads) as server:
                    pace(server.port, [counted], clients=16, seconds=bed.seconds(1))  # connections to PostgreSQL
                    measured = pace(server.port, [counted, listed, counted], clients=16, seconds=bed.seconds(3))
                rates.setdefault(f"{workers} x {threads}", []).append(measured.per_second)
    bed.tables["servers"] = {"unit": "answers per second", "processes x threads": rates}
    default, *others = rates.values()
    best = max(others, key=lambda rounds: sorted(rounds)[len(rounds) // 2])
    note = ", ".join(f"{label}: {sorted(rounds)[len(rounds) // 2]:.0f}" for label, rounds in rates.items())
    yield Outcome(figure=SERVERS, ours=default, reference=best, note=note)


@measures(CLIENTS)
def clients(bed: Bed) -> Iterator[Outcome]:
    name = main_database(bed)
    number = max(50, bed.rows(1000))
    request = request_bytes(f"{registrations('a200-1')}/count", bed.tokens[name])
    request = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    said: dict[str, int] = {}
    with bed.api(name) as server, selectors.DefaultSelector() as selector:
        started = perf_counter()
        answers: dict[socket.socket, bytes] = {}
        for _ in range(number):
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            client.setblocking(False)
            client.connect_ex((HOST, server.port))
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
        for one, answer in answers.items():
            said[_kind(answer)] = said.get(_kind(answer), 0) + 1
            one.close()
    good = said.get("200", 0) + said.get("503 with Retry-After", 0)
    note = ", ".join(f"{kind}: {count}" for kind, count in said.items()) + f"; the last after {last:.1f} s"
    yield Outcome(figure=CLIENTS, ours=[100 * good / number], note=note)


def _kind(answer: bytes) -> str:
    status = answer[9:12].decode() or "none"
    return status + " with Retry-After" * (b"\r\nretry-after:" in answer.lower())
