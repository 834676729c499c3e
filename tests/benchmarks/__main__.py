"""`make bench` measures, prints the table, and writes bench.json and bench.svg.

BENCH names the figures, separated by commas. BENCH_SCALE shrinks the data. BENCH_DIRECTORY holds the data meanwhile
(several GB, on a disk). BENCH_OUTPUT is the directory of the two files.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.benchmarks import enrichment, flushes, growth, lists, refreshes, registers, servers
from tests.benchmarks.bed import bed
from tests.benchmarks.figures import Outcome, registry
from tests.benchmarks.plot import draw
from tests.benchmarks.report import ROOT, TABLE_HEAD, facts, growth_table, heading, row, write

# In the order of the table.
MODULES = (lists, refreshes, enrichment, registers, flushes, growth, servers)


def main() -> int:
    scale = float(os.environ.get("BENCH_SCALE") or 1)
    names = [name for name in (os.environ.get("BENCH") or "").replace(",", " ").split() if name]
    try:
        groups = registry.chosen(names, order=[module.__name__ for module in MODULES])
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    output = Path(os.environ.get("BENCH_OUTPUT") or ROOT)
    place = Path(os.environ.get("BENCH_DIRECTORY") or ROOT / ".bench")
    place.mkdir(parents=True, exist_ok=True)
    about, outcomes, tables = facts(scale), list[Outcome](), dict[str, Any]()
    print(heading(about), flush=True)
    started = perf_counter()

    def say(text: str) -> None:
        print(f"{perf_counter() - started:6.0f} s  {text}", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the `with` blocks clean up
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=place))
    try:
        with bed(directory, scale=scale, say=say) as made:
            for group in groups:
                say(", ".join(figure.name for figure in group.figures))
                for outcome in group.run(made):
                    outcomes.append(outcome)
                    say(row(outcome) + (f"  ({outcome.note})" if outcome.note else ""))
                tables |= made.tables
                write(output / "bench.json", about, outcomes, tables)
            if "growth" in tables:
                (output / "bench.svg").write_text(draw(tables["growth"]), encoding="utf-8")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("\n".join(["", heading(about), "", TABLE_HEAD, *map(row, outcomes)]))
    if "growth" in tables:
        print("\n".join(["", *growth_table(tables["growth"])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
