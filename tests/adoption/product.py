"""Compares all combinations, one after another on one PostgreSQL, and prints a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.adoption.comparison import Comparison, compare
from tests.adoption.features import Combination
from tests.fixtures.kamdbctl import TEMPLATE, create_by_kamdbctl
from tests.stand.postgres import cluster


def compare_all(
    combinations: Sequence[Combination], *, directory: Path, say: Callable[[str], None]
) -> list[Comparison]:
    """Compare each combination and print its result with all differences; print a table at the end.

    Args:
        combinations: the combinations.
        directory: for files; created if missing.
        say: called with each line.
    """
    results = []
    with cluster(directory / "postgres") as postgres:
        create_by_kamdbctl(postgres, TEMPLATE)
        for number, combination in enumerate(combinations):
            result = compare(combination, directory=directory / str(number), postgres=postgres, template=TEMPLATE)
            say(str(result))
            results.append(result)
    say(f"{'combination':<40} {'looks':>6} {'wanted':>6} {'differs':>7} {'missing':>7}")
    for each in results:
        numbers = f"{each.looks:>6} {len(each.wanted):>6} {len(each.differences):>7} {len(each.missing):>7}"
        say(f"{each.combination!s:<40} {numbers}")
    return results
