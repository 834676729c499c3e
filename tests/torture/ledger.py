"""Records what each client was told, and judges at the end which bindings must exist and which must not.

Times are seconds of `time.monotonic`. This module knows neither SIP nor HTTP.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic, time


class Verdict(enum.Enum):
    """The promise that was broken for a binding, if any."""

    LOST = "lost"
    NEWER_REMOVED = "newer removed"


@dataclass(frozen=True, slots=True)
class Request:
    """A REGISTER of one binding, or a DELETE that covers it.

    Attributes:
        begin: time before its first byte was sent.
        end: time after which it cannot take effect any more; `inf` if unknown.
        ok: whether the answer was 200.
    """

    begin: float
    end: float
    ok: bool


ALWAYS = Request(-inf, -inf, ok=True)
"""A REGISTER before all others."""


def judge(registers: Iterable[Request], flushes: Iterable[Request], places: Mapping[str, bool]) -> Verdict | None:
    """Compare the answers that a phone and the API's clients got with the final state.

    LOST: a flush was answered with 200 and the binding still exists somewhere, although no REGISTER can have come
    after it. NEWER_REMOVED: the binding is gone although its REGISTER was sent after the last DELETE was over, answered
    or not, and got a 200. If REGISTER and DELETE overlapped, either may have won, but all places must agree.

    Args:
        registers: all REGISTERs of one binding, also those without an answer.
        flushes: all DELETEs that cover it, also those without an answer.
        places: where the binding is; `memory` decides if they disagree.
    """
    registers, flushes = list(registers), list(flushes)
    promised = max((flush.begin for flush in flushes if flush.ok), default=-inf)
    over = max((flush.end for flush in flushes), default=-inf)
    must_be = any(register.ok and (register.begin > over or not flushes) for register in registers)
    must_not_be = promised > -inf and all(register.end <= promised for register in registers)
    if (must_not_be or not registers) and any(places.values()):
        return Verdict.LOST
    if must_be and not all(places.values()):
        return Verdict.NEWER_REMOVED
    if len(set(places.values())) > 1:
        return Verdict.NEWER_REMOVED if places["memory"] else Verdict.LOST
    return None


class Ledger:
    """Collects the requests of many threads, by binding."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registers: dict[str, list[Request]] = {}
        self._flushes: dict[str, list[Request]] = {}
        self.promised = 0

    def note_register(self, binding: str, register: Request) -> None:
        """Record a REGISTER."""
        with self._lock:
            self._registers.setdefault(binding, []).append(register)

    def note_flush(self, bindings: Iterable[str], flush: Request) -> None:
        """Record a DELETE and the bindings that it covers."""
        with self._lock:
            self.promised += flush.ok
            for binding in bindings:
                self._flushes.setdefault(binding, []).append(flush)

    def judge(self, binding: str, places: Mapping[str, bool]) -> Verdict | None:
        """See `judge`."""
        return judge(self._registers.get(binding, ()), self._flushes.get(binding, ()), places)

    def story(self, binding: str) -> str:
        """Return all requests of a binding in order, in epoch seconds as usrloc counts, to find a fault's cause."""
        epoch = time() - monotonic()
        told = [(each, "REGISTER") for each in self._registers.get(binding, ())]
        told += [(each, "DELETE") for each in self._flushes.get(binding, ())]
        return "\n".join(
            f"    {epoch + each.begin:.4f} to {epoch + each.end:.4f} {what} {'200' if each.ok else 'failed'}"
            for each, what in sorted(told, key=lambda pair: pair[0].begin)
        )
