"""systemd-analyze checks the units of API and worker, and the drop-in for Kamailio's unit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from api.settings import ApiSettings

BIN = Path(sys.executable).parent
LOOK = Path(__file__).parent / "stand" / "units.sh"
COMMANDS = ("registrations-api", "registrations-sync", "registrations-kamailio")


def _look(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", LOOK, directory], capture_output=True, encoding="utf-8", check=False, timeout=60)


def _printed(command: str, *options: str) -> str:
    return subprocess.run(
        [BIN / command, "unit", *options], capture_output=True, encoding="utf-8", check=True, timeout=60
    ).stdout


def test_the_units_are_valid_and_take_away_what_is_not_needed() -> None:
    """systemd-analyze has no complaint and rates each exposure at 2.0 or less, as `make lint` checks too."""
    looked = _look(BIN)
    assert looked.returncode == 0, looked.stderr
    assert looked.stdout.count("Overall exposure level") == 2


@pytest.mark.parametrize(
    ("command", "right", "wrong", "complaint"),
    [
        ("registrations-api", "ProtectSystem=", "ProtectSystm=", "ProtectSystm"),
        ("registrations-api", "/bin/registrations-api", "/bin/registrations-apy", "is not executable"),
        ("registrations-sync", "SystemCallFilter=", "# ", "Overall exposure level"),
        ("registrations-kamailio", "RestartSec=2", "RestartSec=soon", "Failed to parse"),
    ],
)
def test_a_mistake_in_a_unit_is_found(tmp_path: Path, command: str, right: str, wrong: str, complaint: str) -> None:
    """A setting that systemd would ignore, a missing program, an exposure that is too high."""
    for name in COMMANDS:
        text = _printed(name)
        if name == command:
            assert right in text
            text = text.replace(right, wrong)
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        socket = f"[ \"$2\" = --socket ] && exec '{BIN / name}' unit --socket\n" if name == "registrations-api" else ""
        (tmp_path / name).write_text(f"#!/bin/sh\n{socket}cat '{tmp_path / name}.txt'\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    looked = _look(tmp_path)
    assert looked.returncode != 0
    assert complaint in looked.stderr


def test_the_socket_unit_listens_where_the_api_does_by_default() -> None:
    """So that it changes nothing for those who add it."""
    assert f"\nListenStream={ApiSettings().api_bind}\n" in _printed("registrations-api", "--socket")


def test_the_api_has_a_directory_for_a_unix_socket() -> None:
    """The user of the unit may write nowhere else."""
    assert "\nRuntimeDirectory=registrations-api\n" in _printed("registrations-api")


def test_each_unit_runs_the_installation_that_printed_it() -> None:
    """ExecStart names the virtual environment that the command is in."""
    assert f"ExecStart={BIN}/registrations-api serve\n" in _printed("registrations-api")
    assert f"ExecStart={BIN}/registrations-sync run\n" in _printed("registrations-sync")


def test_kamailio_is_kept_in_its_zone() -> None:
    """The drop-in sets TZ to UTC or to the zone in which Kamailio's rows are written."""
    assert "Environment=TZ=UTC\n" in _printed("registrations-kamailio")
    assert "Environment=TZ=Europe/Berlin\n" in _printed("registrations-kamailio", "--timezone", "Europe/Berlin")
    command: list[str | Path] = [BIN / "registrations-kamailio", "unit", "--timezone", "Europe/Berln"]
    refused = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert refused.returncode == 2, "libc would take an unknown zone for UTC"
    assert "there is no time zone 'Europe/Berln'" in refused.stderr


def test_utc_needs_no_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command works without tzdata."""
    monkeypatch.setenv("PYTHONTZPATH", "")
    assert "Environment=TZ=UTC\n" in _printed("registrations-kamailio")
