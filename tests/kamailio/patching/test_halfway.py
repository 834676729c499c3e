"""`patch --write` is all or nothing, however it ends, and a new file never loads an old one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from kamailio.cli import main
from kamailio.patching.file import include
from tests.stand.process import wait_until
from tests.stand.stock import STOCK, stock_save

COMMAND = Path(sys.executable).parent / "registrations-kamailio"
try:
    stock_save()
except (FileNotFoundError, ValueError):
    pytest.skip("no stock kamailio.cfg of the distribution", allow_module_level=True)
LOCAL = '#!define WITH_USRLOCDB\n#!define DBURL "postgres://kamailio@127.0.0.1/kamailio"\nloadmodule "db_postgres.so"\n'
# Does something just before the n-th step of the program, by an audit hook of Python.
TROUBLE = """
import os, signal, sys
from itertools import count
steps, wanted, trouble = count(1), int(sys.argv.pop(1)), sys.argv.pop(1)
def hook(event, arguments):
    if event in ("os.rename", "os.remove"):
        target = str(arguments[1 if event == "os.rename" else 0])
        if ".registrations" not in target and next(steps) == wanted:
            print("in trouble", file=sys.stderr)
            if trouble == "an error": raise OSError(5, "the disk does not work")
            if trouble == "a bug": raise ZeroDivisionError
            os.kill(os.getpid(), signal.Signals[trouble])
sys.addaudithook(hook)
from kamailio.cli import main
main()
"""
FILES = ("kamailio.cfg", "registrations.cfg", "registrations-new.cfg")


@pytest.fixture(params=["first", "upgrade", "undo"])
def configuration(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A stock file: not patched; patched by an older release with another include and other lines; or by this one."""
    (tmp_path / "kamailio-local.cfg").write_text(LOCAL, encoding="utf-8")
    path = tmp_path / "kamailio.cfg"
    path.write_bytes(STOCK.read_bytes())
    if request.param != "first":
        assert _patch("--write", path).returncode == 0
        for kept in tmp_path.glob("*.bak"):
            kept.unlink()
    if request.param == "upgrade":
        text = path.read_text(encoding="utf-8").replace("route(REGISTRATIONS_PREAUTH);", "route(REGISTRATIONS_OLD);")
        path.write_text(text, encoding="utf-8")
        path.with_name("registrations.cfg").write_text(f"{include()}route[REGISTRATIONS_OLD] {{ return; }}\n")
    return path


def _patch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "patch", *arguments], capture_output=True, text=True, check=False, timeout=60)


def _options(request: pytest.FixtureRequest) -> list[str]:
    return ["--undo", "--write"] if "undo" in request.node.callspec.id else ["--write"]


def _everything(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), (status := path.stat()).st_mode, status.st_uid) for path in directory.iterdir()
    }


def _steps(configuration: Path, options: list[str], trouble: str) -> Iterator[subprocess.CompletedProcess[str]]:
    """Run it with trouble at its first step, then at its second, and so on, until it succeeds."""
    for step in range(1, 20):
        program = [sys.executable, "-c", TROUBLE, str(step), trouble]
        command: list[str | Path] = [*program, "patch", "--no-check", *options, configuration]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if "in trouble" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return
        yield done
    pytest.fail("it never ends")


@pytest.mark.parametrize("trouble", ["an error", "a bug", "SIGINT", "SIGTERM", "SIGHUP"])
def test_what_ends_it_leaves_everything_as_it_was(
    configuration: Path, request: pytest.FixtureRequest, trouble: str
) -> None:
    """At each step: bytes, mode and owner of every file are the same, and there is no other file."""
    before = _everything(configuration.parent)
    ended = 0
    for done in _steps(configuration, _options(request), trouble):
        ended += 1
        assert done.returncode != 0
        assert _everything(configuration.parent) == before
    assert ended >= 3
    assert _everything(configuration.parent) != before


def _fits(directory: Path) -> bool:
    """Whether kamailio.cfg finds every route that it calls, and no include of another release."""
    text = (directory / "kamailio.cfg").read_text(encoding="utf-8")
    loaded = re.search(r'^include_file "(.*)"', text, re.MULTILINE)
    if loaded is None:
        return "REGISTRATIONS_" not in text
    included = (directory / loaded[1]).read_text(encoding="utf-8")
    return ("REGISTRATIONS_OLD" in text) == ("REGISTRATIONS_OLD" in included)


def test_killed_it_leaves_files_that_fit_and_the_next_run_repairs_them(
    configuration: Path, request: pytest.FixtureRequest
) -> None:
    """After SIGKILL at any step Kamailio would start, and the same command finishes the work."""
    before = {path: path.read_bytes() for path in configuration.parent.iterdir()}
    ended = 0
    for done in _steps(configuration, _options(request), "SIGKILL"):
        ended += 1
        assert done.returncode == -signal.SIGKILL
        assert _fits(configuration.parent)
        checked = subprocess.run(["kamailio", "-c", "-f", configuration], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        repaired = _patch(*_options(request), configuration)
        assert repaired.returncode == 0, repaired.stderr
        check = _patch("--check", *(option for option in _options(request) if option == "--undo"), configuration)
        assert check.returncode == 0
        left = {path.name for path in configuration.parent.iterdir() if path.suffix != ".bak"}
        assert left <= {"kamailio.cfg", "registrations.cfg", "kamailio-local.cfg"}
        for path in configuration.parent.iterdir():
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
    assert ended >= 3


@pytest.mark.parametrize("limit", [1000, 27000])
def test_a_full_disk_changes_nothing(configuration: Path, request: pytest.FixtureRequest, limit: int) -> None:
    """No file can be written, or only part of it."""
    before = _everything(configuration.parent)
    command: list[str | Path] = [
        "prlimit",
        f"--fsize={limit}",
        COMMAND,
        "patch",
        "--no-check",
        *_options(request),
        configuration,
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if refused.returncode:
        assert "File too large" in refused.stderr
        assert _everything(configuration.parent) == before
    else:
        assert limit > max(len(content) for content, *_ in _everything(configuration.parent).values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_end_while_kamailio_checks_leaves_nothing(
    configuration: Path, request: pytest.FixtureRequest, tmp_path: Path, number: signal.Signals
) -> None:
    """`patch` waits for `kamailio -c`, here blocked by a FIFO that the operator's file includes."""
    (tmp_path / "kamailio-local.cfg").unlink()
    os.mkfifo(tmp_path / "kamailio-local.cfg")
    environment = {**os.environ, "KAMAILIO_DB_MODE": "1", "KAMAILIO_DB_URL": "postgres://kamailio@127.0.0.1/kamailio"}
    before = {path.name for path in tmp_path.iterdir()}
    content = configuration.read_bytes()
    # A shell starts a background process with SIGINT ignored.
    command: list[str | Path] = ["env", "--default-signal=INT", COMMAND, "patch", *_options(request), configuration]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        wait_until(lambda: {path.name for path in tmp_path.iterdir()} != before, 10, "the files for Kamailio to check")
        running.send_signal(number)
        assert running.wait(timeout=20) != 0
    assert {path.name for path in tmp_path.iterdir()} == before
    assert configuration.read_bytes() == content


def test_a_check_that_does_not_end_is_given_up(
    configuration: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files stay the same."""
    configuration.with_name("kamailio-local.cfg").unlink()
    before = _everything(configuration.parent)
    os.mkfifo(configuration.with_name("kamailio-local.cfg"))
    monkeypatch.setattr("kamailio.patching.writing.CHECK_SECONDS", 0.5)
    monkeypatch.setenv("KAMAILIO_DB_MODE", "1")
    monkeypatch.setenv("KAMAILIO_DB_URL", "postgres://kamailio@127.0.0.1/kamailio")
    refused = CliRunner().invoke(main, ["patch", *_options(request), str(configuration)])
    assert refused.exit_code == 1
    assert "`kamailio -c` did not end" in refused.output
    configuration.with_name("kamailio-local.cfg").unlink()
    assert _everything(configuration.parent) == before


def test_two_at_once_do_not_meet(configuration: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The second one reports that another is running."""
    held = subprocess.Popen(["flock", str(tmp_path), "sleep", "60"])
    try:
        wait_until(
            lambda: subprocess.run(["flock", "-n", str(tmp_path), "true"], check=False).returncode != 0, 10, "the lock"
        )
        refused = _patch(*_options(request), configuration)
    finally:
        held.kill()
        held.wait()
    assert refused.returncode == 1
    assert "is running" in refused.stderr


@pytest.mark.parametrize("name", ["kamailio.cfg", "registrations.cfg"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    """Reading a FIFO without a writer would never end."""
    (tmp_path / "kamailio.cfg").write_bytes(STOCK.read_bytes())
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    refused = _patch("--write", tmp_path / "kamailio.cfg")
    assert refused.returncode == 1
    assert "is not a regular file" in refused.stderr
