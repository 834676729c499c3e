"""Kamailio serves JSON-RPC only to its own machine. The other machine here is a network namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.kamailio import StartKamailio
from tests.stand.process import daemon

VERSION = '{"jsonrpc":"2.0","id":1,"method":"core.version"}'
REFUSED_CONNECTION = 7  # curl(1)


@dataclass(frozen=True)
class Machine:
    """Another machine: the address of this one there, and the process that keeps it alive."""

    peer: str
    pid: int

    def post(self, port: int) -> tuple[int, str]:
        """Ask for Kamailio's version there, and return curl's exit status and the HTTP status."""
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "curl", "--silent", "--max-time", "5", "--noproxy", "*"]
        command += ["--output", "/dev/null", "--write-out", "%{http_code}", "--data", VERSION]
        asked = subprocess.run(
            [*command, f"http://{self.peer}:{port}/RPC"], capture_output=True, text=True, check=False, timeout=20
        )
        return asked.returncode, asked.stdout


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=10)
    if result.returncode:
        pytest.skip(f"no network of our own can be made here: ip {' '.join(arguments)}: {result.stderr.strip()}")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Another machine, removed afterwards. Its addresses are from the block for network tests (RFC 2544)."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("namespaces want root, iproute2 and util-linux")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("namespaces are not permitted here")
    log = tmp_path / "namespace.log"
    command = ["unshare", "--net", "sh", "-c", "echo here; exec sleep infinity"]
    with daemon(command, log=log, ready=lambda: "here" in log.read_text()) as process:
        number = process.pid % 16384 * 4
        ours, theirs = (f"198.18.{(number + host) // 256}.{(number + host) % 256}" for host in (1, 2))
        cable = f"rpc{process.pid}"
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        try:
            _ip("address", "add", f"{ours}/30", "dev", cable)
            _ip("link", "set", cable, "up")
            for words in (f"address add {theirs}/30 dev eth0", "link set eth0 up", "link set lo up"):
                inside = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", *words.split()]
                subprocess.run(inside, check=True, timeout=10)
            yield Machine(ours, process.pid)
        finally:
            subprocess.run(["ip", "link", "delete", cable], check=False, timeout=10)


def test_its_port_is_closed_to_another_machine(start_kamailio: StartKamailio, machine: Machine) -> None:
    """JSON-RPC listens only on loopback. The SIP port, which all can reach, does not serve it."""
    proxy = start_kamailio(sip_host=machine.peer)
    assert machine.post(proxy.rpc_port) == (REFUSED_CONNECTION, "000")
    assert machine.post(proxy.sip_port) == (0, "404")


def test_an_open_port_is_of_no_use_to_another_machine(start_kamailio: StartKamailio, machine: Machine) -> None:
    """If it listens on a reachable address, a client outside KAMAILIO_RPC_CLIENTS gets 403."""
    proxy = start_kamailio(environment={"KAMAILIO_RPC_LISTEN": "0.0.0.0"})
    assert machine.post(proxy.rpc_port) == (0, "403")
