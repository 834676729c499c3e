"""The stand itself: daemons start, show their log when they fail, and never outlive their test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.stand.postgres import cluster
from tests.stand.process import DaemonFailed, daemon, free_port, port_taken, wait_until


def alive(pid: int) -> bool:
    """Return whether a process of that ID runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_daemon_that_dies_shows_its_log(tmp_path: Path) -> None:
    """The error has the exit status and the end of the log."""
    with (
        pytest.raises(DaemonFailed, match=r"status 3(?s:.*)last words"),
        daemon(["sh", "-c", "echo last words; exit 3"], log=tmp_path / "log", ready=lambda: False),
    ):
        pass


def test_a_daemon_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    """A daemon that is not ready in time is an error and is stopped."""
    pid_file = tmp_path / "pid"
    with (
        pytest.raises(DaemonFailed, match="to be ready"),
        daemon(["sh", "-c", f"echo $$ > {pid_file}; sleep 600"], log=tmp_path / "log", ready=bool, ready_timeout=0.3),
    ):
        pass
    assert not alive(int(pid_file.read_text()))


def test_a_daemon_that_does_not_listen_is_killed_with_its_children(tmp_path: Path) -> None:
    """After SIGTERM the whole process group gets SIGKILL."""
    pid_file = tmp_path / "pid"
    script = f"trap '' TERM; sleep 600 & echo $! > {pid_file}; while true; do wait; done"
    with daemon(["sh", "-c", script], log=tmp_path / "log", ready=pid_file.exists, grace=0.2) as child:
        wait_until(pid_file.read_text, 5, "the child")
        sleeper = int(pid_file.read_text())
        assert alive(sleeper)
    assert not child.is_running()
    wait_until(lambda: not alive(sleeper), 5, "the child's end")


def test_daemons_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """PostgreSQL ends even if the test run is killed and no `with` block ends."""
    port = free_port()
    script = (
        "import sys, time; from pathlib import Path; from tests.stand.postgres import cluster\n"
        f"with cluster(Path({str(tmp_path / 'pg')!r}), port={port}): print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"up\n"
        assert port_taken("127.0.0.1", port)
        run.kill()
    wait_until(lambda: not port_taken("127.0.0.1", port), 10, "PostgreSQL's end")


def test_a_cluster_is_stopped_started_and_frozen(tmp_path: Path) -> None:
    """A test can stop, start and freeze PostgreSQL, also in a directory that its user could not enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with cluster(closed / "pg") as postgres:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute("create table kept as select 1 as one")
            postgres.freeze()
            stat = Path(f"/proc/{connection.info.backend_pid}/stat")
            wait_until(lambda: stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T", 5, "the freeze")
            postgres.thaw()
            assert connection.execute("select one from kept").fetchone() == (1,)
        postgres.stop()
        assert not postgres.is_running
        assert not port_taken(postgres.host, postgres.port)
        postgres.start()
        with psycopg.connect(postgres.url()) as connection:
            assert connection.execute("select one from kept").fetchone() == (1,)
        pid = postgres.pid
    assert not alive(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
