"""A round: phones register, clients flush, daemons die. Once everything is quiet, the round is judged."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from math import inf
from random import Random
from time import monotonic, time
from typing import Any

from kamailio import usrloc
from tests.stand.phone import NoAnswer, Phone
from tests.stand.process import wait_until
from tests.stand.sip_agent import T1
from tests.torture.ledger import ALWAYS, Ledger, Request, Verdict
from tests.torture.stack import ACCOUNT, HOST, REALM, USERNAMES, Stack, Victim

ROUND_SECONDS = 1.5
QUIET_SECONDS = 60.0
FLUSHERS = 2
# The worker takes over the flush of a dead API process only after its lease. The test cuts leases to this length.
LEASE_SECONDS = 3

Places = dict[str, bool]


@dataclass
class Result:
    """The result of one round, or of several."""

    flushes: int = 0
    lost: int = 0
    newer_removed: int = 0
    stories: list[str] = field(default_factory=list)


class Round:
    """One round on a running stack. All random choices come from its seed, but the timing does not."""

    def __init__(self, stack: Stack, phones: Sequence[Phone], *, seed: int) -> None:
        self._stack = stack
        self._phones = phones
        self._seed = seed
        self._ledger = Ledger()
        self._never = threading.Event()
        self._killed = threading.Event()
        self._flushing = threading.Event()
        self._failures: list[BaseException] = []
        self._events: list[tuple[float, str]] = []

    def run(self) -> Result:
        """Let phones, clients and killer run, then judge.

        Raises:
            BaseException: the first error of a thread, for example a daemon that does not start again.
        """
        self._place_bets()
        actors: list[Callable[[Random], None]] = []
        actors += [partial(self._register, phone) for phone in self._phones]
        actors += [self._flush] * FLUSHERS + [self._cut_leases]
        threads = [
            threading.Thread(target=self._guard, args=(actor, Random(f"{self._seed}-{number}")))
            for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        # In this thread: the kernel stops a daemon when the thread that started it ends.
        self._guard(self._kill, Random(f"{self._seed}-kill"))
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        self._wait_for_quiet()
        return self._judge()

    def _guard(self, actor: Callable[[Random], None], random: Random) -> None:
        try:
            actor(random)
        except BaseException as error:  # run() raises it
            self._failures.append(error)

    def _place_bets(self) -> None:
        for phone, places in zip(self._phones, self._places(), strict=True):
            if all(places.values()):
                self._ledger.note_register(phone.contact, ALWAYS)

    def _register(self, phone: Phone, random: Random) -> None:
        """Register at random intervals until a random moment, and most phones once more after a daemon was killed.

        At that time the API process of a flush may be dead, and the worker may be about to retry the flush. The last
        REGISTER of a round must not be removed.
        """
        until = monotonic() + random.uniform(0, 1.2 * ROUND_SECONDS)
        longest = random.choice((0.02, 0.1, 0.5, 1.5))
        while not self._never.wait(random.uniform(0, longest)) and monotonic() < until:
            self._register_once(phone)
        if random.random() < 0.7:
            self._killed.wait(2 * ROUND_SECONDS)
            self._never.wait(random.uniform(0, random.choice((0, 0.01, 0.4, 1.5))))
            self._register_once(phone)

    def _register_once(self, phone: Phone) -> None:
        """Register once. In db_mode 2 the REGISTER counts until the end of its second.

        There is no row yet, and usrloc counts in seconds. So a retry cannot know whether it came before or after a
        DELETE in that second, and does not remove it.
        """
        begin = monotonic()
        try:
            ok = phone.register(timeout=6).ok
            end = monotonic()
            if end - begin > T1:
                end += 2 * T1  # it was retransmitted, and the copy may still be on its way
            if self._stack.db_mode == 2:
                end += 1 - (time() % 1)
        except NoAnswer:
            ok, end = False, inf
        self._ledger.note_register(phone.contact, Request(begin, end, ok=ok))

    def _flush(self, random: Random) -> None:
        """Flush at random intervals, and once more after a daemon was killed; some clients continue even then."""
        until = monotonic() + ROUND_SECONDS
        longest = random.choice((0.05, 0.3, 1.0))
        goes_on = random.random() < 0.4
        while not self._killed.wait(random.uniform(0, longest)) and monotonic() < until:
            self._flush_once(random)
        self._killed.wait(2 * ROUND_SECONDS)
        self._never.wait(random.uniform(0, 0.1))
        self._flush_once(random)
        while goes_on and not self._never.wait(random.uniform(0, longest)) and monotonic() < until:
            self._flush_once(random)

    def _flush_once(self, random: Random) -> None:
        username = random.choice((*USERNAMES, None))
        covered = [phone.contact for phone in self._phones if username in {None, phone.username}]
        self._flushing.set()
        begin = monotonic()
        try:
            status, _ = ask(self._stack, "DELETE", f"/{username}" if username else "")
        except ConnectionRefusedError:
            return  # the API did not run
        except (OSError, HTTPException):
            status = 0
        self._ledger.note_flush(covered, Request(begin, monotonic(), ok=status == 200))

    def _kill(self, random: Random) -> None:
        """Kill one or two daemons, mostly just after a flush was sent, and restart each after a moment."""
        for _ in range(random.choice((1, 1, 2))):
            victim = random.choice(self._stack.victims)
            if random.random() < 0.8:
                self._flushing.clear()
                self._flushing.wait(ROUND_SECONDS)
                self._never.wait(random.uniform(0, random.choice((0.01, 0.03, 0.1))))
            else:
                self._never.wait(random.uniform(0, ROUND_SECONDS))
            self._kill_one(victim, random.choice((0, random.uniform(0, 0.3), random.uniform(0, 1))))

    def _kill_one(self, victim: Victim, pause: float) -> None:
        self._events.append((monotonic(), f"{victim.name} killed"))
        victim.kill()
        self._killed.set()
        self._never.wait(pause)
        victim.start()
        self._events.append((monotonic(), f"{victim.name} is back"))

    def _cut_leases(self, random: Random) -> None:
        until = monotonic() + ROUND_SECONDS
        while not self._never.wait(random.uniform(0, 0.3)) and monotonic() < until:
            self._cut_lease()

    def _cut_lease(self) -> None:
        self._stack.database.execute(
            "update flush_binding set due_at = now() where id in (select id from flush_binding "
            "where due_at > now() + %s * interval '1 second' for update skip locked)",
            (LEASE_SECONDS,),
        )

    def _wait_for_quiet(self) -> None:
        """Wait until nothing is pending and all places agree. Give up after QUIET_SECONDS."""

        def is_quiet() -> bool:
            self._cut_lease()
            row = self._stack.database.execute(
                "select (select count(*) from flush_binding) + (select count(*) from flush where finished_at is null)"
            ).fetchone()
            return row == (0,) and all(len(set(places.values())) == 1 for places in self._places())

        with suppress(TimeoutError):
            wait_until(is_quiet, QUIET_SECONDS, "nothing to be pending", interval=0.1)

    def _places(self) -> list[Places]:
        memory: set[str] = set()
        with self._stack.proxy.rpc() as rpc:
            for username in USERNAMES:
                memory |= {contact.address for contact in usrloc.lookup(rpc, usrloc.aor(username, REALM))}
        rows = self._stack.database.execute("select contact from location").fetchall()
        status, listed = ask(self._stack, "GET")
        if status != 200:
            raise RuntimeError(f"the list returned {status}: {listed}")
        in_table, in_list = {row[0] for row in rows}, {each["contact"] for each in listed["data"]}
        return [
            {"memory": phone.contact in memory, "table": phone.contact in in_table, "list": phone.contact in in_list}
            for phone in self._phones
        ]

    def _judge(self) -> Result:
        result = Result(flushes=self._ledger.promised)
        for phone, places in zip(self._phones, self._places(), strict=True):
            verdict = self._ledger.judge(phone.contact, places)
            if verdict is None:
                continue
            result.lost += verdict is Verdict.LOST
            result.newer_removed += verdict is Verdict.NEWER_REMOVED
            there = ", ".join(place for place, is_there in places.items() if is_there) or "nowhere"
            result.stories.append(
                f"  {phone.contact} {verdict.value}, found in: {there}\n{self._ledger.story(phone.contact)}\n"
                + "\n".join(f"    {at + time() - monotonic():.4f} {what}" for at, what in self._events)
            )
        return result


def ask(stack: Stack, method: str, path: str = "") -> tuple[int, dict[str, Any]]:
    """Ask the API about the account's registrations; return the status and the envelope.

    Raises:
        OSError: no answer came.
        HTTPException: the answer was incomplete.
    """
    connection = HTTPConnection(HOST, stack.port, timeout=60)
    try:
        connection.request(method, f"/v2/accounts/{ACCOUNT}/registrations{path}", headers={"X-Auth-Token": stack.token})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
