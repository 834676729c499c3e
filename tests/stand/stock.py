"""Debian's own kamailio.cfg as an operator runs it, with its own directory, ports and database.

Nothing of ours is in it until a test patches it. The stock file imports kamailio-local.cfg, which lies beside it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kamailio.errors import KamailioError
from kamailio.rpc import JsonRpcClient
from kamailio.survey import require_loaded
from kamailio.transports.by_url import transport_for
from tests.stand.process import Daemon, daemon, free_port

STOCK = Path("/etc/kamailio/kamailio.cfg")
LOCAL = """#!define DBURL "{url}"
loadmodule "db_postgres.so"
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
auto_aliases=no
alias="{realm}"
"""


def stock_save() -> str:
    """Return the lines of the stock file that store a binding. The error route that they call depends on the release.

    Raises:
        ValueError: the file does not have these lines exactly once.
    """
    text = STOCK.read_text(encoding="utf-8")
    (found,) = re.findall(r'\tif \(!save\("location"\)\) \{\n\t\t\w+\(\);\n\t\}\n', text)
    return str(found)


@dataclass
class StockProxy:
    """A stock proxy that can be started and stopped repeatedly."""

    directory: Path
    port: int
    realm: str
    runtime: Path
    environment: dict[str, str] = field(default_factory=dict)
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _daemon: Daemon | None = None

    @property
    def configuration(self) -> Path:
        """Path of its kamailio.cfg."""
        return self.directory / "kamailio.cfg"

    @property
    def rpc_url(self) -> str:
        """URL for JSON-RPC by datagram, which the stock configuration opens."""
        return f"unix:{self.runtime}/kamailio_rpc.sock"

    @property
    def log(self) -> str:
        """Everything that it has logged."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it and return once it serves phones."""
        command: list[str | Path] = ["kamailio", "-DD", "-E", "-f", self.configuration, "-Y", self.runtime, "-m", "128"]
        command += ["-P", self.directory / "pid", "-w", self.directory]
        self._daemon = self._running.enter_context(
            daemon(command, log=self.directory / "log", env=self.environment, ready=self._answers, ready_timeout=60)
        )

    def stop(self) -> None:
        """Stop it by SIGTERM."""
        self._running.close()

    def _answers(self) -> bool:
        request = (
            f"OPTIONS sip:127.0.0.1:{self.port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK1\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{self.realm}>;tag=1\r\nTo: <sip:{self.realm}>\r\nCall-ID: 1\r\n"
            "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone, contextlib.suppress(OSError):
            phone.settimeout(0.2)
            phone.connect(("127.0.0.1", self.port))
            phone.send(request.encode())
            return phone.recv(65536).startswith(b"SIP/2.0 200") and self._has_loaded()
        return False

    def _has_loaded(self) -> bool:
        if "include_file" not in self.configuration.read_text(encoding="utf-8", errors="replace"):
            return True  # the stock configuration has no command for that
        try:
            with JsonRpcClient(transport_for(self.rpc_url), timeout=1) as client:
                require_loaded(client)
        except KamailioError:
            return False
        return True


@contextlib.contextmanager
def stock_proxy(
    directory: Path,
    *,
    database_url: str,
    realm: str = "example.com",
    features: Sequence[str] = (),
    edits: Mapping[str, str] | None = None,
    local: str = "",
    persistent: bool = True,
    port: int | None = None,
) -> Iterator[StockProxy]:
    """Write the files of a stock proxy. Start it with `start()`; it is stopped at the end of the `with` block.

    Args:
        directory: for its files; created if missing.
        database_url: of a database that kamdbctl made.
        realm: domain of its phones.
        features: defines such as WITH_AUTH.
        edits: the operator's own edits: text of the stock file, and its replacement.
        local: the operator's own lines at the end of kamailio-local.cfg.
        persistent: with WITH_USRLOCDB; otherwise usrloc keeps its bindings in memory only.
        port: for SIP; default: a free one.

    Raises:
        ValueError: the stock file does not have the text of an edit.
    """
    directory.mkdir(parents=True, exist_ok=True)
    runtime = Path(tempfile.mkdtemp(prefix="kamailio-", dir="/tmp"))  # the path of a unix socket must be short
    proxy = StockProxy(directory, port or free_port(), realm, runtime, {"TZ": "UTC"})
    text = STOCK.read_text(encoding="utf-8")
    for old, new in (edits or {}).items():
        if old not in text:
            raise ValueError(f"{STOCK} does not say {old!r}")
        text = text.replace(old, new)
    proxy.configuration.write_bytes(text.encode())
    url = database_url.replace("postgresql://", "postgres://", 1)
    names = [*(["WITH_USRLOCDB"] if persistent else []), *features]
    defines = "".join(f"#!define {name}\n" for name in names)
    own = defines + LOCAL.format(url=url, port=proxy.port, realm=realm) + local
    (directory / "kamailio-local.cfg").write_text(own, encoding="utf-8")
    try:
        yield proxy
    finally:
        proxy.stop()
        shutil.rmtree(runtime, ignore_errors=True)
