"""A stand-in for systemctl: starts and stops what a unit names, as far as that goes without systemd.

It reads ExecStart, EnvironmentFile and the groups of our units. Kamailio runs in the foreground with its stock file.
Like Debian's unit (User=, RuntimeDirectory=) this starts it as its own user, not as root, so its socket has its group.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.stand.process import wait_until

RUN = Path("/run")
RUNTIME = RUN / "kamailio"
USER = "setpriv --reuid=kamailio --regid=kamailio --clear-groups"
KAMAILIO = f"{USER} kamailio -DD -E -f /etc/kamailio/kamailio.cfg -m 64 -P {RUNTIME}/kamailio.pid -Y {RUNTIME}"


def serves(name: str) -> bool:
    """Whether it has begun to work, which an operator's next command may take for granted."""
    if name == "kamailio":
        return (RUNTIME / "kamailio_rpc.sock").exists()
    if name == "registrations-sync":
        return "action=lead" in (RUN / f"{name}.log").read_text(encoding="utf-8")
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", 8000)) == 0


def start(name: str) -> None:
    """Start it in a session of its own; fails when it ends at once."""
    environment, command = dict(os.environ), shlex.split(KAMAILIO)
    if name == "kamailio":
        shutil.rmtree(RUNTIME, ignore_errors=True)  # a new directory for each start
        RUNTIME.mkdir()
        shutil.chown(RUNTIME, "kamailio", "kamailio")
        RUNTIME.chmod(0o770)
    else:
        unit = Path(f"/etc/systemd/system/{name}.service").read_text(encoding="utf-8")
        for path in re.findall(r"^EnvironmentFile=(.*)$", unit, re.MULTILINE):
            lines = Path(path).read_text(encoding="utf-8").splitlines()
            environment |= dict(line.split("=", 1) for line in lines if "=" in line)
        groups = ",".join(re.findall(r"^SupplementaryGroups=(.*)$", unit, re.MULTILINE))
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", f"--groups={groups}", "--no-new-privs"]
        command += shlex.split(re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)[0])
    log = RUN / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (RUN / f"{name}.started").write_text(str(process.pid), encoding="ascii")
    wait_until(lambda: process.poll() is not None or serves(name), 60, f"{name} to start")
    if process.poll() is not None:
        sys.exit(f"{name} has failed: {log.read_text(errors='replace')[-2000:]}")


def stop(name: str) -> None:
    """Stop it in order, if it runs."""
    file = RUN / f"{name}.started"
    if file.exists():
        status = Path(f"/proc/{file.read_text(encoding='ascii')}/stat")
        os.kill(int(status.parent.name), signal.SIGTERM)
        wait_until(lambda: not status.exists() or " Z " in status.read_text(encoding="ascii"), 60, f"{name} to stop")
        file.unlink()


if __name__ == "__main__":
    verb, *names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    for each in names:
        if verb in {"restart", "disable"}:
            stop(each)
        if verb in {"restart", "enable"}:
            start(each)
