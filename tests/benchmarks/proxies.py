"""The proxies, Debian's stock configuration with and without our edits, and loads on them."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from tests.benchmarks.bed import Bed
from tests.benchmarks.data import REALM
from tests.benchmarks.load import Came, Wish
from tests.stand.kamailio import CONFIGURATION
from tests.stand.postgres import SUPERUSER
from tests.stand.process import daemon, free_port
from tests.stand.stock import STOCK, stock_save

# The least that makes the stock configuration store bindings in PostgreSQL and ask for passwords.
LOCAL = """
#!define WITH_USRLOCDB
#!define WITH_AUTH
#!define DBURL "{url}"
loadmodule "db_postgres.so"
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
auto_aliases=no
alias="{realm}"
"""
# Edits that cannot be made in kamailio-local.cfg: write-through as with ours, and AoRs with their domain.
STOCK_LAST = """
modparam("usrloc", "db_mode", 1)
modparam("usrloc|auth_db", "use_domain", 1)
"""
OURS_FIRST = """
#!define REGISTRATIONS_AUTH_HA1
#!define KAMAILIO_DB_MODE 1
#!define KAMAILIO_EXPIRES_TYPE 1
#!define KAMAILIO_USE_DOMAIN 1
#!define KAMAILIO_RPC_LISTEN 127.0.0.1
#!define KAMAILIO_RPC_PORT {rpc_port}
server_id=1
"""
# A session that has only read the table. The stock configuration cannot report by itself that it has loaded.
LOADED = (
    "select from pg_stat_activity where datname = current_database() and state = 'idle' "
    "and query like 'select %contact,expires,q,callid,%'"
)
OURS_SAVE = (
    '\troute(REGISTRATIONS_PRESAVE);\n\tif (!save("location")) {\n\t\texit;\n\t}\n\troute(REGISTRATIONS_POSTSAVE);\n'
)


@dataclass(frozen=True)
class Proxy:
    """A running Kamailio: its SIP port and the URL of its JSON-RPC."""

    port: int
    rpc_url: str = ""


@contextmanager
def proxy(bed: Bed, database: str, *, stock: bool = False) -> Iterator[Proxy]:
    """Run the stock configuration as an operator has it, or with the edits for registrations.cfg."""
    directory = bed.path("kamailio")
    runtime = Path(tempfile.mkdtemp(prefix="kamailio-", dir="/tmp"))  # the path of a unix socket must be short
    port, rpc_port = free_port(), free_port()
    url = bed.postgres.kamailio_url(database, user=SUPERUSER if stock else "registrations_kamailio")
    text = STOCK.read_text(encoding="utf-8")
    local = LOCAL.format(url=url, port=port, realm=REALM)
    if stock:
        text += STOCK_LAST
    else:
        text = text.replace(stock_save(), OURS_SAVE) + f'\ninclude_file "{CONFIGURATION.parent}/registrations.cfg"\n'
        local = OURS_FIRST.format(rpc_port=rpc_port) + local
    (directory / "kamailio.cfg").write_text(text, encoding="utf-8")
    (directory / "kamailio-local.cfg").write_text(local, encoding="utf-8")
    command: list[str | Path] = ["kamailio", "-DD", "-E", "-f", directory / "kamailio.cfg", "-Y", runtime, "-m", "1024"]
    command += ["-P", directory / "pid", "-w", directory]
    try:
        with daemon(
            command,
            log=directory / "log",
            ready=lambda: _has_loaded(bed, database) and _challenges(port),
            ready_timeout=120,
        ):
            yield Proxy(port, f"http://127.0.0.1:{rpc_port}/RPC")
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def _has_loaded(bed: Bed, database: str) -> bool:
    with psycopg.connect(bed.postgres.url(database), autocommit=True) as connection:
        return connection.execute(LOADED).fetchone() is not None


def _challenges(port: int) -> bool:
    request = (
        f"REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
        f"From: <sip:u1@{REALM}>;tag=1\r\nTo: <sip:u1@{REALM}>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone, contextlib.suppress(OSError):
        phone.settimeout(0.2)
        phone.connect(("127.0.0.1", port))
        phone.send(request.encode())
        return phone.recv(65536).startswith(b"SIP/2.0 401")
    return False


class Running:
    """A running load."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def is_running(self) -> bool:
        """Return whether it has not ended yet."""
        return self._process.poll() is None

    def end(self) -> Came:
        """Stop it early and return the result."""
        self._process.terminate()
        return self.result()

    def result(self) -> Came:
        """Wait for its end and return the result.

        Raises:
            RuntimeError: it failed.
        """
        assert self._process.stdout is not None
        # Not communicate(): a short load may have written its result together with the first line, and
        # communicate() ignores what the pipe's buffer holds.
        out = self._process.stdout.read()
        _, error = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise RuntimeError(f"the load failed: {error}")
        return Came(**json.loads(out))


STEADY = 500


@contextmanager
def steady(bed: Bed, proxy: Proxy) -> Iterator[Running]:
    """Send 500 REGISTERs a second from all phones, until it is stopped."""
    wish = Wish(phones=bed.phones, seconds=3600, rate=STEADY)
    with load(proxy, wish) as running:
        yield running


@contextmanager
def load(proxy: Proxy, wish: Wish) -> Iterator[Running]:
    """Run a load inside the `with` block; see `tests.benchmarks.load`."""
    # Real phones have their own processors, so the load gets a higher priority. Without root, nice only warns.
    command = ["nice", "--adjustment=-10", sys.executable, "-m", "tests.benchmarks.load"]
    command += [str(proxy.port), json.dumps(asdict(wish))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it is sending, or it has failed
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def registers(proxy: Proxy, wish: Wish) -> Came:
    """Run a load to its end and return the result.

    Raises:
        RuntimeError: a REGISTER was refused.
    """
    with load(proxy, wish) as running:
        came = running.result()
    if came.refused:
        raise RuntimeError(f"{came.refused} REGISTERs of {came.refused + came.count} were refused: {came.refusal}")
    return came
