"""A load of REGISTERs: many phones on one UDP socket, with messages that are made beforehand to save CPU.

    python -m tests.benchmarks.load PORT '{"first": 1, "phones": 1000, "seconds": 10, "rate": 500}'

prints the result as JSON. It runs in its own process, so that nothing else delays it. Latencies count from the time
when a REGISTER was due, not from the time when it was sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import sys
from collections import deque
from dataclasses import asdict, dataclass, field
from time import perf_counter, process_time, time
from typing import Any

from tests.benchmarks.data import PASSWORD, REALM
from tests.benchmarks.figures import percentile
from tests.stand.sip import Response, parse
from tests.stand.sip_digest import credentials, usable_challenge

HOST = "127.0.0.1"
MARK = b"z9hG4bKbench"
LOST_AFTER = 3.0
URI = f"sip:{REALM}"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The load to send.

    Attributes:
        first, phones: the phones u{first}, u{first + 1}, ..., one after another, and again from the first.
        seconds: duration; 0: until each has registered once.
        rate: REGISTERs a second, also if answers are late; 0: as many as possible with `window` of them unanswered.
        keep: whether to report the time of each 200.
        patience: seconds until a REGISTER without an answer counts as lost.
    """

    first: int = 1
    phones: int = 1
    seconds: float = 0.0
    rate: float = 0.0
    window: int = 32
    keep: bool = False
    patience: float = LOST_AFTER


@dataclass(kw_only=True)
class Came:
    """The result: latencies in seconds, the load's own share of one core, the last answer other than 200."""

    count: int = 0
    refused: int = 0
    refusal: str = ""
    lost: int = 0
    seconds: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    cpu: float = 0.0
    answered: list[tuple[str, float]] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers with status 200 for each second."""
        return self.count / self.seconds


class Load:
    """One window of load."""

    def __init__(self, port: int, wish: Wish) -> None:
        self._wish = wish
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.connect((HOST, port))
        self._run = secrets.token_hex(4)
        users = [f"u{number}" for number in range(wish.first, wish.first + wish.phones)]
        challenge = self._challenge(users[0])
        self._users = users
        self._messages = [self._message(user, challenge) for user in users]
        self._sent: dict[int, tuple[int, float]] = {}
        self._order: deque[int] = deque()
        self._number = self._turn = 0
        self._waiting: set[int] = set()
        self._told: list[bool] = []
        self._latencies: list[float] = []
        self._came = Came()

    def _message(self, user: str, challenge: dict[str, str] | None) -> tuple[bytes, bytes, bytes]:
        """Make a REGISTER in three parts. The numbers for branch and CSeq go between them."""
        head = f"REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{self._socket.getsockname()[1]};rport;branch="
        middle = (
            f"\r\nMax-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag={self._run}\r\nTo: <sip:{user}@{REALM}>\r\n"
            f"Call-ID: {user}-{self._run}\r\nCSeq: "
        )
        tail = (
            f" REGISTER\r\nContact: <sip:{user}@192.0.2.10:5062;line={user}>\r\nExpires: 3600\r\n"
            "User-Agent: Yealink SIP-T46U 108.86.0.20\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER\r\n"
        )
        if challenge:
            given = credentials(challenge, username=user, password=PASSWORD, method="REGISTER", uri=URI, nc=1)
            tail += f"Authorization: {given}\r\n"
        return head.encode() + MARK, middle.encode(), f"{tail}Content-Length: 0\r\n\r\n".encode()

    def _challenge(self, user: str) -> dict[str, str]:
        # The second REGISTER must be a new transaction (RFC 3261 section 22.2). Kamailio drops a REGISTER of the same
        # transaction while the SIP worker that has answered the first one is still busy (tmx, t_precheck_trans).
        head, middle, tail = self._message(user, None)
        for _ in range(20):
            self._socket.send(head + b"-1." + middle + b"1" + tail)
            if select.select([self._socket], [], [], 1.0)[0]:
                answer = parse(self._socket.recv(65536))
                challenge = usable_challenge(answer) if isinstance(answer, Response) else None
                if challenge is None:
                    raise RuntimeError(f"expected a challenge, got {answer.start_line}")
                return challenge
        raise RuntimeError("the proxy does not answer")

    def run(self) -> Came:
        """Send and receive until the time is over and the last answers have arrived."""
        wish, came = self._wish, self._came
        limit = wish.phones if not wish.seconds else None
        window = min(wish.window, wish.phones)
        cpu, started = process_time(), perf_counter()
        end = started + wish.seconds if wish.seconds else float("inf")
        signal.signal(signal.SIGTERM, lambda *_: self._told.append(True))
        print("sending", flush=True)
        now = started
        while True:
            now = perf_counter()
            if self._told:  # stop sending, but wait for answers
                end = min(end, now)
            sending = now < end and (limit is None or self._number < limit)
            if not sending and not self._sent:
                break
            pause = wish.patience
            if sending and wish.rate:
                due = started + self._number / wish.rate
                while due <= now and due < end:
                    self._send(due)
                    due = started + self._number / wish.rate
                pause = max(0.0, min(due, end) - now)
            elif sending:
                while len(self._sent) < window and (limit is None or self._number < limit):
                    self._send(now)
            if select.select([self._socket], [], [], min(pause, 0.2))[0]:
                self._receive()
            self._give_up(perf_counter())
        came.seconds = min(end, now) - started
        came.cpu = (process_time() - cpu) / (now - started)
        if self._latencies:
            came.p50, came.p99 = percentile(self._latencies, 0.5), percentile(self._latencies, 0.99)
            came.worst = max(self._latencies)
        return came

    def _send(self, due: float) -> None:
        number = self._number
        self._number += 1
        # Skip phones that wait for an answer: Kamailio would refuse the older CSeq if it arrived second.
        for _ in self._messages:
            round_, phone = divmod(self._turn, len(self._messages))
            self._turn += 1
            if phone not in self._waiting:
                break
        else:
            return
        head, middle, tail = self._messages[phone]
        self._sent[number] = (phone, due)
        self._waiting.add(phone)
        self._order.append(number)
        with contextlib.suppress(ConnectionRefusedError):  # no proxy at the moment, so it is lost
            self._socket.send(b"%b%d.%b%d%b" % (head, number, middle, round_ + 2, tail))

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # no proxy at the moment, so the REGISTER is lost
                continue
            at = data.index(MARK) + len(MARK)
            number = int(data[at : data.index(b".", at)])
            phone, due = self._sent.pop(number, (-1, 0.0))
            if phone < 0:  # a second answer to the first REGISTER, or one that came too late
                continue
            self._waiting.remove(phone)
            if data.startswith(b"SIP/2.0 200"):
                self._came.count += 1
                self._latencies.append(perf_counter() - due)
                if self._wish.keep:
                    self._came.answered.append((self._users[phone], time()))
            else:
                self._came.refused += 1
                self._came.refusal = data.partition(b"\r\n")[0].decode(errors="replace")

    def _give_up(self, now: float) -> None:
        while self._order:
            oldest = self._order[0]
            if oldest in self._sent:
                if self._sent[oldest][1] > now - self._wish.patience:
                    return
                self._waiting.remove(self._sent.pop(oldest)[0])
                self._came.lost += 1
                self._latencies.append(self._wish.patience)
            self._order.popleft()


def main(arguments: list[str]) -> None:
    wish: dict[str, Any] = json.loads(arguments[1])
    print(json.dumps(asdict(Load(int(arguments[0]), Wish(**wish)).run())))


if __name__ == "__main__":
    os.nice(-5 if os.geteuid() == 0 else 0)
    main(sys.argv[1:])
