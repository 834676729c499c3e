"""The benchmarks run on a hundredth of the data. Nothing is said here about speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figure, Outcome
from tests.benchmarks.report import ROOT
from tests.stand.stock import STOCK


def bench(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program of `make bench` with all its files in a directory."""
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks"],
        cwd=ROOT,
        env={**os.environ, "BENCH_DIRECTORY": str(directory), "BENCH_OUTPUT": str(directory), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=600,  # for a busy machine
    )


@pytest.mark.slow
@pytest.mark.skipif(not STOCK.exists(), reason="no stock kamailio.cfg of the distribution")
def test_every_figure_is_measured_and_written(tmp_path: Path) -> None:
    """A run on a hundredth of the data succeeds, and bench.json has every figure of the documented table."""
    done = bench(tmp_path, BENCH_SCALE="0.01", BENCH="")
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    readme = readme.partition("## Figures")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in readme.splitlines() if line.startswith("| `")]
    assert [f"`{figure['name']}`" for figure in content["figures"]] == rows
    for figure in content["figures"]:
        assert figure["spread"]["min"] <= figure["spread"]["median"] <= figure["spread"]["max"]
    assert (tmp_path / "bench.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [], "its databases are left behind"


def test_an_unknown_name_is_a_mistake_of_one_line(tmp_path: Path) -> None:
    """The error lists the known names, and nothing is measured."""
    done = bench(tmp_path, BENCH="list-10001")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "list-10000," in done.stderr


@pytest.mark.parametrize(
    ("ours", "reference", "at_least", "met"),
    [
        ([3.0, 1.0, 9.0], [1.0, 1.0, 1.0], False, True),
        ([3.0, 4.0, 9.0], [1.0, 1.0, 1.0], False, False),
        ([3.0, 4.0, 9.0], [1.0, 1.0, 1.0], True, True),
        ([2.0], [], True, False),
        ([2.0], [], False, True),
    ],
)
def test_the_median_of_the_rounds_is_held_against_the_goal(
    ours: list[float], reference: list[float], at_least: bool, met: bool
) -> None:
    """The median of the rounds' ratios is compared with the goal, in its direction."""
    figure = Figure(name="x", title="x", unit="s", goal=3, at_least=at_least)
    assert Outcome(figure=figure, ours=ours, reference=reference).met is met
