"""The demo's settings, four ports and a directory, and the checks before anything starts."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
DEFAULT_PORTS = {"DEMO_API_PORT": 8000, "DEMO_SIP_PORT": 5060, "DEMO_RPC_PORT": 5097, "DEMO_PG_PORT": 5440}
PURPOSES = {
    "DEMO_API_PORT": "the API",
    "DEMO_SIP_PORT": "Kamailio's SIP",
    "DEMO_RPC_PORT": "Kamailio's JSON-RPC",
    "DEMO_PG_PORT": "PostgreSQL",
}


class Mistake(click.ClickException):
    """An error that the user can fix: one message, exit status 1."""

    def show(self, file: object = None) -> None:  # noqa: ARG002  # click's signature
        click.echo(f"demo: {self.message}", err=True)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The demo's directory and its ports on loopback."""

    directory: Path
    api_port: int
    sip_port: int
    rpc_port: int
    pg_port: int

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.directory / "log"

    @property
    def env_file(self) -> Path:
        """File of shell variables; it exists while the demo is ready."""
        return self.directory / "env"

    @property
    def ports(self) -> dict[str, int]:
        """The ports, by the name of their variable."""
        return dict(zip(DEFAULT_PORTS, (self.api_port, self.sip_port, self.rpc_port, self.pg_port), strict=True))


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the variables ``DEMO_*``.

    Raises:
        Mistake: a value is not a port, or two ports are the same.
    """
    ports = {name: _read_port(name, environment.get(name, "")) for name in DEFAULT_PORTS}
    for name, port in ports.items():
        twin = next((other for other in ports if other != name and ports[other] == port), None)
        if twin is not None:
            raise Mistake(f"{name} and {twin} are both {port}; they must differ")
    api, sip, rpc, pg = ports.values()
    directory = Path(environment.get("DEMO_DIRECTORY") or REPOSITORY / ".demo").resolve()
    return Settings(directory=directory, api_port=api, sip_port=sip, rpc_port=rpc, pg_port=pg)


def _read_port(name: str, value: str) -> int:
    if not value:
        return DEFAULT_PORTS[name]
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 65535):
        raise Mistake(f"{name} is {value!r}; it must be a port, a number from 1 to 65535")
    return int(value)


def has_ipv6() -> bool:
    """Return whether this machine has the IPv6 loopback address."""
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def find_port_problem(settings: Settings) -> str | None:
    """Return a message about the first port that is not available: its purpose and the variable that changes it."""
    for name, port in settings.ports.items():
        wanted = [(HOST, socket.SOCK_STREAM, "TCP")]
        if name == "DEMO_SIP_PORT":
            wanted.append((HOST, socket.SOCK_DGRAM, "UDP"))
            if has_ipv6():
                wanted += [("::1", socket.SOCK_STREAM, "TCP"), ("::1", socket.SOCK_DGRAM, "UDP")]
        for host, kind, protocol in wanted:
            why = _why_not(host, port, kind)
            if why is not None:
                where = f"{protocol} port {port} of {host}"
                return f"{where}, for {PURPOSES[name]}, {why}; choose another: {name}={_suggestion(port)} make demo"
    return None


def _why_not(host: str, port: int, kind: socket.SocketKind) -> str | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:  # ignore connections in TIME_WAIT
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"is not available ({error.strerror})"
    return None


def _suggestion(port: int) -> int:
    return port + 10000 if port < 50000 else port - 10000


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the directory for this process. The kernel releases the lock when the process ends.

    Raises:
        Mistake: a demo runs there already, or the directory is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise Mistake(f"{error.filename}: {error.strerror}; check its owner, or run `make clean`") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 20).decode().strip()
        os.close(descriptor)
        raise Mistake(
            f"a demo runs here already (pid {pid}); stop it with Ctrl-C in its terminal, or with kill {pid}"
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def running_demo(directory: Path) -> int:
    """Return the process ID of the demo that has locked the directory.

    Raises:
        Mistake: no demo runs there.
    """
    with suppress(OSError), (directory / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read())
    raise Mistake(f"no demo runs in {directory}; start one with `make demo`")
