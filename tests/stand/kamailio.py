"""A real Kamailio in the foreground, on our configuration or another one, with its files in one directory.

This module knows Kamailio's command line and the variables of kamailio/kamailio.cfg. It knows no tables and no phones.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kamailio.errors import KamailioError
from kamailio.rpc import JsonRpcClient
from kamailio.survey import require_loaded
from kamailio.transports.by_url import transport_for
from tests.stand.process import Daemon, daemon, free_port

CONFIGURATION = Path(__file__).resolve().parents[2] / "kamailio" / "kamailio.cfg"


def kamailio_version() -> str:
    """Return the installed version, such as `5.6.3`, or `unknown`."""
    said = subprocess.run(["kamailio", "-v"], check=False, capture_output=True, encoding="utf-8").stdout
    found = re.search(r"kamailio ([0-9.]+)", said)
    return found[1] if found else "unknown"


def kamailio_is_at_least(major: int, minor: int) -> bool:
    """Return whether the installed Kamailio has this version or a newer one."""
    return tuple(int(part) for part in kamailio_version().split(".")[:2]) >= (major, minor)


def take_long_headers() -> str:
    """Return the settings with which Kamailio accepts headers of more than 32,767 bytes and can read them whole."""
    return "pv_buffer_size=65000" + ("\nmsg_recv_max_size=65000" if kamailio_is_at_least(5, 8) else "")


def with_line(directory: Path, line: str) -> Path:
    """Write kamailio.cfg with one more line at its end, as an operator might, and return its path."""
    shutil.copyfile(CONFIGURATION.with_name("registrations.cfg"), directory / "registrations.cfg")
    configuration = directory / CONFIGURATION.name
    configuration.write_text(f"{CONFIGURATION.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    return configuration


def without_authentication(directory: Path) -> Path:
    """Write a kamailio.cfg that does not authenticate REGISTER, and return its path.

    Raises:
        ValueError: the authentication was not found in kamailio.cfg.
    """
    configuration = with_line(directory, "")
    text, count = re.subn(
        r"(?<=^route\[REGISTRAR\] \{\n).*?(?=^\t\$avp\(RECEIVED\) = \$su;)",
        "",
        configuration.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{CONFIGURATION} does not authenticate in route[REGISTRAR]")
    configuration.write_text(text, encoding="utf-8")
    return configuration


@dataclass
class Proxy:
    """A Kamailio that can be started, killed and restarted within one `with`."""

    directory: Path
    configuration: Path
    sip_host: str
    sip_port: int
    rpc_port: int
    runtime: Path
    environment: dict[str, str]
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _daemon: Daemon | None = None

    @property
    def sip(self) -> tuple[str, int]:
        """Address for phones, by UDP, TCP or WebSocket."""
        return self.sip_host, self.sip_port

    @property
    def rpc_url(self) -> str:
        """URL for JSON-RPC over HTTP."""
        return f"http://127.0.0.1:{self.rpc_port}/RPC"

    @property
    def rpc_socket_url(self) -> str:
        """URL for JSON-RPC by datagram, to the UDP port or the unix socket that KAMAILIO_RPC_SOCKET names."""
        name = self.environment.get("KAMAILIO_RPC_SOCKET", "kamailio_rpc.sock")
        return name if name.startswith("udp:") else f"unix:{self.runtime / name}"

    @property
    def rpc_fifo_url(self) -> str:
        """URL for JSON-RPC by FIFO."""
        return f"fifo:{self.runtime}/kamailio_rpc.fifo"

    @property
    def rpc_kamctl_url(self) -> str:
        """URL for JSON-RPC through kamctl."""
        return f"kamctl:?fifo={self.runtime}/kamailio_rpc.fifo"

    @property
    def log(self) -> str:
        """Everything it has logged, over all restarts."""
        path = self.directory / "kamailio.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether its main process runs."""
        return self._daemon is not None and self._daemon.is_running()

    @property
    def pid(self) -> int:
        """Process ID of its main process.

        Raises:
            RuntimeError: it is stopped.
        """
        if self._daemon is None:
            raise RuntimeError("Kamailio is stopped")
        return self._daemon.pid

    def rpc(self, *, socket: bool = False, url: str | None = None) -> JsonRpcClient:
        """Return an RPC client: over HTTP, over the datagram socket, or for another of its URLs."""
        return JsonRpcClient(transport_for(url or (self.rpc_socket_url if socket else self.rpc_url)))

    def start(self) -> None:
        """Start it unless it runs, and return once it serves SIP and JSON-RPC."""
        if self.is_running:
            return
        self._running.close()
        command: list[str | Path] = ["kamailio", "-DD", "-E", "-f", self.configuration, "-Y", self.runtime]
        command += ["-P", self.directory / "kamailio.pid", "-w", self.directory]
        self._daemon = self._running.enter_context(
            daemon(command, log=self.directory / "kamailio.log", env=self.environment, ready=self._answers, grace=10)
        )

    def stop(self) -> None:
        """Stop it by SIGTERM. In db_mode 2 it writes its bindings first."""
        self._running.close()
        self._daemon = None

    def kill(self) -> None:
        """Kill all its processes by SIGKILL. What was only in memory is lost."""
        if self._daemon is not None:
            self._daemon.kill()
        self.stop()

    def restart(self, **environment: str) -> None:
        """Stop it, change variables of its environment, and start it."""
        self.stop()
        self.environment.update(environment)
        self.start()

    def _answers(self) -> bool:
        try:
            with (
                JsonRpcClient(transport_for(self.rpc_url), timeout=1) as by_http,
                JsonRpcClient(transport_for(self.rpc_socket_url), timeout=1) as by_datagram,
            ):
                by_http.call("core.version")
                by_datagram.call("core.version")
                # Before it loads the table it deletes the rows of TCP connections, also of phones that register early.
                require_loaded(by_http)
        except KamailioError:
            return False
        return True


@contextlib.contextmanager
def kamailio(
    directory: Path,
    *,
    database_url: str,
    sip_host: str = "127.0.0.1",
    sip_host6: str | None = None,
    sip_port: int | None = None,
    rpc_port: int | None = None,
    db_mode: int = 1,
    expires_type: int = 1,
    server_id: int = 1,
    timer_interval: int = 1,
    timezone: str = "UTC",
    children: int = 2,
    min_expires: int = 1,
    configuration: Path = CONFIGURATION,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Proxy]:
    """Run Kamailio inside the `with` block.

    Args:
        directory: for its log and PID file; created if missing.
        database_url: `postgres://...` as Kamailio writes it, or `postgresql://...`.
        sip_host: address for phones.
        sip_host6: further IPv6 address for phones, without brackets.
        sip_port: port for all transports; default: a free one.
        rpc_port: default: a free one.
        db_mode: usrloc's mode.
        expires_type: 1 for BIGINT columns, 0 for TIMESTAMP.
        server_id: number of the node.
        timer_interval: seconds between two runs of usrloc's timer.
        timezone: TZ of the process.
        children: workers for each transport.
        min_expires: the registrar's shortest registration, in seconds.
        configuration: another kamailio.cfg that reads the same variables.
        environment: further variables.

    Raises:
        DaemonFailed: it did not start; the message has the tail of its log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # In /tmp: the path of a unix socket has at most 107 bytes, and pytest's temporary directories have long names.
    runtime = Path(tempfile.mkdtemp(prefix="kamailio-", dir="/tmp"))
    sip_port = sip_port or free_port(sip_host)
    rpc_port = rpc_port or free_port()
    variables = {
        "KAMAILIO_DB_URL": database_url.replace("postgresql://", "postgres://", 1),
        "KAMAILIO_DB_MODE": str(db_mode),
        "KAMAILIO_EXPIRES_TYPE": str(expires_type),
        "KAMAILIO_SERVER_ID": str(server_id),
        "KAMAILIO_TIMER_INTERVAL": str(timer_interval),
        "KAMAILIO_LISTEN_ADDRESS": sip_host,
        "KAMAILIO_LISTEN_PORT": str(sip_port),
        "KAMAILIO_RPC_LISTEN": "127.0.0.1",
        "KAMAILIO_RPC_PORT": str(rpc_port),
        "KAMAILIO_CHILDREN": str(children),
        "KAMAILIO_MIN_EXPIRES": str(min_expires),
        "TZ": timezone,
        **({"KAMAILIO_LISTEN_ADDRESS6": f"[{sip_host6}]"} if sip_host6 else {}),
        **(environment or {}),
    }
    proxy = Proxy(directory, configuration, sip_host, sip_port, rpc_port, runtime, variables)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()
        shutil.rmtree(runtime, ignore_errors=True)
