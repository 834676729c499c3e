"""The README's way onto a running Kamailio, word for word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rehearsal.readme import ROOT, blocks, commands
from tests.stand.stock import STOCK

NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def test_there_are_eight_commands() -> None:
    """As the README promises; a look and the way out again follow."""
    adopt, _look, _leave = blocks()
    assert len(commands(adopt)) == 8


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can cover /etc")
@pytest.mark.skipif(not STOCK.exists(), reason="no stock kamailio.cfg of the distribution")
def test_the_commands_of_the_readme_adopt_a_stock_kamailio_and_leave_it(tmp_path: Path) -> None:
    """As root pastes them, on a database of kamdbctl: the list has the phone, and nothing stays behind."""
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    tmpfs: list[str | Path] = ["sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', overlays]
    command: list[str | Path] = [*NAMESPACES, *tmpfs, sys.executable, "-m", "tests.rehearsal.readme", overlays]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "readme: 8 commands, and out again"
