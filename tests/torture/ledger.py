"""What each client was told, and whether it holds: who must be registered at the end, who must not be.

Times are seconds of `time.monotonic`. Knows neither SIP nor HTTP.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic, time


class Verdict(enum.Enum):
    """Which promise was broken for a binding."""

    LOST = "lost"
    NEWER_REMOVED = "newer removed"


@dataclass(frozen=True, slots=True)
class Request:
    """A REGISTER of one binding, or a DELETE that covers it.

    Attributes:
        begin: before its first byte was sent.
        end: when it could take effect no more; `inf` when nobody knows.
        ok: whether it was answered with 200.
    """

    begin: float
    end: float
    ok: bool


ALWAYS = Request(-inf, -inf, ok=True)
"""A REGISTER of long ago."""


def judge(registers: Iterable[Request], flushes: Iterable[Request], places: Mapping[str, bool]) -> Verdict | None:
    """Compare what a phone and the clients of the API were told with what there is when all is quiet.

    A flush that was answered with 200 is lost when its binding is still somewhere, although no REGISTER can have come
    after it. A newer binding was removed when its REGISTER was sent after the last DELETE was over, answered or not,
    and answered with 200. Where the two met, either may have won; but then all places agree.

    Args:
        registers: of one binding, those without an answer included.
        flushes: that cover it, those without an answer included.
        places: where it is; `memory` decides when they do not agree.
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
    """Collects the requests of many threads, by the keys of bindings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registers: dict[str, list[Request]] = {}
        self._flushes: dict[str, list[Request]] = {}
        self.promised = 0

    def note_register(self, binding: str, register: Request) -> None:
        """Note a REGISTER."""
        with self._lock:
            self._registers.setdefault(binding, []).append(register)

    def note_flush(self, bindings: Iterable[str], flush: Request) -> None:
        """Note a DELETE and what it covers."""
        with self._lock:
            self.promised += flush.ok
            for binding in bindings:
                self._flushes.setdefault(binding, []).append(flush)

    def judge(self, binding: str, places: Mapping[str, bool]) -> Verdict | None:
        """See `judge`."""
        return judge(self._registers.get(binding, ()), self._flushes.get(binding, ()), places)

    def story(self, binding: str) -> str:
        """All requests of a binding in order, for whoever looks for the cause; in epoch seconds, as usrloc counts."""
        epoch = time() - monotonic()
        told = [(each, "REGISTER") for each in self._registers.get(binding, ())]
        told += [(each, "DELETE") for each in self._flushes.get(binding, ())]
        return "\n".join(
            f"    {epoch + each.begin:.4f} to {epoch + each.end:.4f} {what} {'200' if each.ok else 'failed'}"
            for each, what in sorted(told, key=lambda pair: pair[0].begin)
        )
