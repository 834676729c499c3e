"""Where the server listens: an address that it cannot have is one line that names the setting, at once."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.demo.content import program
from tests.fixtures.server import HOST, StartServer
from tests.stand.process import DaemonFailed, free_port

# What systemd does: these descriptors are the server's from 3 on.
ACTIVATE = (
    "import fcntl, os, sys; fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1].split(',')]; "
    "[os.dup2(fd, 3 + number) for number, fd in enumerate(fds)]; "
    "os.execve(sys.argv[2], sys.argv[2:], {**os.environ, 'LISTEN_FDS': str(len(fds)), 'LISTEN_PID': str(os.getpid())})"
)


def _complaint(start_server: StartServer, **settings: object) -> str:
    with pytest.raises(DaemonFailed) as failed:
        start_server(**settings)
    said = str(failed.value)
    assert "gunicorn" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("setting", ["REGISTRATIONS_API_BIND", "REGISTRATIONS_API_METRICS_LISTEN"])
def test_a_port_that_is_taken_is_an_operators_mistake(start_server: StartServer, setting: str) -> None:
    """Also that of the metrics."""
    with socket.create_server((HOST, 0)) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        said = _complaint(start_server, **{setting.removeprefix("REGISTRATIONS_").lower(): address})
    assert f"Error: {setting}: {address}: Address already in use" in said


def test_a_path_that_cannot_be_had_is_an_operators_mistake(start_server: StartServer, tmp_path: Path) -> None:
    """There is no such directory, a file has the name, another server listens there, or it is too long."""
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
        other.listen()
        for path, why in (
            (tmp_path / "nowhere" / "api", "No such file or directory"),
            (tmp_path / "file", "Address already in use"),
            (tmp_path / "other", "Address already in use"),
            (tmp_path / ("x" * 120), "AF_UNIX path too long"),
        ):
            said = _complaint(start_server, api_bind=f"unix:{path}")
            assert f"Error: REGISTRATIONS_API_BIND: unix:{path}: {why}" in said
        assert Path(tmp_path / "other").is_socket()


@pytest.mark.parametrize("address", ["", "::1:8000", "[::1:8000", "unix:api.sock", "127.0.0.1"])
def test_what_is_no_address_is_an_operators_mistake(start_server: StartServer, address: str) -> None:
    """An IPv6 address needs brackets; an empty setting is none."""
    said = _complaint(start_server, api_bind=address)
    assert f"REGISTRATIONS_API_BIND: {address!r} is neither address:port nor unix:/path" in said


def test_a_path_that_a_dead_server_left_is_taken_over(start_server: StartServer, tmp_path: Path) -> None:
    """As after a power failure; the server ends because its port for metrics is taken, which is looked at later."""
    with socket.socket(socket.AF_UNIX) as dead, socket.create_server((HOST, 0)) as taken:
        dead.bind(str(tmp_path / "api"))
        metrics = f"{HOST}:{taken.getsockname()[1]}"
        said = _complaint(start_server, api_bind=f"unix:{tmp_path / 'api'}", api_metrics_listen=metrics)
    assert "Error: REGISTRATIONS_API_METRICS_LISTEN" in said


@pytest.mark.parametrize(
    ("passed", "complaint"),
    [
        ("api", "Error: REGISTRATIONS_API_METRICS_LISTEN: {metrics}: the socket unit has no ListenStream={metrics}"),
        (
            "metrics",
            "Error: REGISTRATIONS_API_BIND: {api}: the socket unit has no ListenStream= but the metrics'",
        ),
        ("api metrics", None),
    ],
)
def test_systemd_must_pass_each_socket(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, passed: str, complaint: str | None
) -> None:
    """gunicorn listens at no other then, so that the metrics would be nowhere."""
    ports = {"api": free_port(), "metrics": free_port()}
    addresses = {name: f"{HOST}:{port}" for name, port in ports.items()}
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((HOST, ports[name]))) for name in passed.split()]
        fds = ",".join(str(each.fileno()) for each in sockets)
        command = [sys.executable, "-c", ACTIVATE, fds, program("registrations-api"), "serve"]
        settings = {"api_bind": addresses["api"], "api_metrics_listen": addresses["metrics"]}
        if complaint is not None:
            said = _complaint(start_server, command=command, pass_fds=[each.fileno() for each in sockets], **settings)
            assert complaint.format(**addresses) in said
            return
        start_server(command=command, pass_fds=[each.fileno() for each in sockets], **settings)
        for name, path in (("api", "/live"), ("metrics", "/metrics")):
            with socket.create_connection((HOST, ports[name]), timeout=10) as connection:
                connection.sendall(b"GET %b HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n" % path.encode())
                assert connection.recv(15) == b"HTTP/1.1 200 OK"
