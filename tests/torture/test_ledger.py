"""The ledger distinguishes broken promises from races that either side may win."""

from __future__ import annotations

from math import inf

import pytest

from tests.torture.ledger import ALWAYS, Request, Verdict, judge

EVERYWHERE = {"memory": True, "table": True, "list": True}
NOWHERE = {"memory": False, "table": False, "list": False}
ONLY_MEMORY = {"memory": True, "table": False, "list": False}
ONLY_TABLE = {"memory": False, "table": True, "list": False}
EARLY, DURING, AFTER = Request(1, 2, ok=True), Request(3.5, 5, ok=True), Request(5, 6, ok=True)
PROMISED, REFUSED = Request(3, 4, ok=True), Request(3, 4, ok=False)
VANISHED = Request(3, inf, ok=False)


@pytest.mark.parametrize(
    ("registers", "flushes", "places", "verdict"),
    [
        ([EARLY], [PROMISED], EVERYWHERE, Verdict.LOST),
        ([ALWAYS], [PROMISED], ONLY_TABLE, Verdict.LOST),
        ([EARLY], [PROMISED], NOWHERE, None),
        ([EARLY, DURING], [PROMISED], EVERYWHERE, None),
        ([EARLY, DURING], [PROMISED], NOWHERE, None),
        ([EARLY, DURING], [PROMISED], ONLY_MEMORY, Verdict.NEWER_REMOVED),
        ([EARLY, DURING], [PROMISED], ONLY_TABLE, Verdict.LOST),
        ([EARLY, Request(5, inf, ok=False)], [PROMISED], EVERYWHERE, None),
        ([EARLY, AFTER], [PROMISED], EVERYWHERE, None),
        ([EARLY, AFTER], [PROMISED], NOWHERE, Verdict.NEWER_REMOVED),
        ([AFTER], [REFUSED], ONLY_TABLE, Verdict.NEWER_REMOVED),
        ([EARLY], [REFUSED], NOWHERE, None),
        ([EARLY], [REFUSED], EVERYWHERE, None),
        ([AFTER], [VANISHED], NOWHERE, None),
        ([EARLY, AFTER], [PROMISED, VANISHED], NOWHERE, None),
        ([EARLY], [PROMISED, VANISHED], EVERYWHERE, Verdict.LOST),
        ([EARLY], [], NOWHERE, Verdict.NEWER_REMOVED),
        ([ALWAYS], [], NOWHERE, Verdict.NEWER_REMOVED),
        ([], [], EVERYWHERE, Verdict.LOST),
        ([], [], NOWHERE, None),
    ],
)
def test_what_was_told_decides(
    registers: list[Request], flushes: list[Request], places: dict[str, bool], verdict: Verdict | None
) -> None:
    """LOST: promised and still there. NEWER_REMOVED: sent after the last DELETE was over, and missing somewhere."""
    assert judge(registers, flushes, places) is verdict
