"""A few rounds of torture. `make torture` runs more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROUNDS = 4


def test_a_few_rounds_break_no_promise() -> None:
    """Daemons are killed while phones register and clients flush: no flush is lost, no newer binding removed."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--rounds", str(ROUNDS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = ran.stdout + ran.stderr
    summary = re.fullmatch(
        rf"torture: {ROUNDS} rounds, ([1-9]\d*) flushes, 0 lost, 0 newer removed", ran.stdout.splitlines()[-1]
    )
    assert (ran.returncode, summary is not None) == (0, True), said
