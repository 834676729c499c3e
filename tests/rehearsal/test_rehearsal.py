"""A small rehearsal. `make rehearsal` runs a full one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rehearsal import steps
from tests.rehearsal.stage import NotHeld
from tests.rehearsal.steps import rehearse

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_stock_proxy_is_adopted_used_and_left_without_a_register_that_fails() -> None:
    """Every step holds, and the last line says so."""
    command = [sys.executable, "-m", "tests.rehearsal", "--phones", "40", "--no-install", "--no-compare"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "rehearsal: 13 steps, all held"


def test_a_step_that_does_not_hold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal can fail: it stops at `patch` if the operator's own edit is one that patch does not understand."""
    monkeypatch.setattr(
        steps, "EDITS", {**steps.EDITS, "route[REGISTRAR]": "route[OWN]", "route(REGISTRAR)": "route(OWN)"}
    )
    with pytest.raises(NotHeld, match=r"step 4, patch kamailio.cfg(.|\n)*there is no route\[REGISTRAR\]"):
        rehearse(tmp_path, phones=20, install=False, say=lambda _: None)
