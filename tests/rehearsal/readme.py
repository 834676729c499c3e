"""The README's commands of adoption, run as they are printed: `python -m tests.rehearsal.readme DIRECTORY`.

Wants mount and process namespaces of its own (test_readme.py gives them), in which it covers /etc, /opt, /run and
/usr/local. `make install` may ask the package index; from then on there is no network but loopback, with the usual
ports. Stand-ins: `systemctl` (systemctl.py), and an `editor` that writes the passwords.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg

from tests.fixtures.kamdbctl import create_by_kamdbctl
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster, bin_directory, cluster
from tests.stand.stock import STOCK

ROOT = Path(__file__).parents[2]
CLONE_NEWNET = 0x40000000
COVERED = ("/etc", "/opt", "/usr/local")
REALM = "example.com"  # as the README has it
LOCAL = f"""#!define WITH_USRLOCDB
#!define DBURL "postgres://kamailio:kamailiorw@127.0.0.1/kamailio"
loadmodule "db_postgres.so"
auto_aliases=no
alias="{REALM}"
"""
# As Debian has it.
ACCESS = "local all postgres peer\nlocal all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n"
EDITOR = '#!/bin/sh\nexec sed -i s/PASSWORD/secret/ "$@"\n'
SYSTEMCTL = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.rehearsal.systemctl "$@"\n'
ANSWERS = "secret\n" * 4
FLUSH = f'curl -sS -X DELETE -H "X-Auth-Token: $TOKEN" 127.0.0.1:8000/v2/accounts/{REALM}/registrations/anna'


def blocks() -> list[str]:
    """The shell commands of the section, block by block: adoption, a look, out again."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Adopt a running Kamailio\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block, each with its continued lines."""
    return block.replace("\\\n", " ").splitlines()


def shell(text: str) -> str:
    """Run commands in one shell, as root types them in a clone; returns what they print.

    Raises:
        SystemExit: a command has failed.
    """
    # Its own session has no terminal, so psql reads passwords from standard input.
    done = subprocess.run(
        ["setsid", "--wait", "bash", "-e", "-o", "pipefail", "-c", text],
        cwd=ROOT,
        input=ANSWERS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=600,
    )
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit(f"{text}\nended with status {done.returncode}")
    return done.stdout


def cover(directory: Path) -> None:
    """Let whatever is written to the machine's directories go to one that is thrown away."""
    for number, place in enumerate(COVERED):
        upper, work = directory / f"upper{number}", directory / f"work{number}"
        upper.mkdir()
        upper.chmod(0o755)  # which the overlay has, too
        work.mkdir()
        where = f"lowerdir={place},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", where, place], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    Path("/run/postgresql").mkdir()
    shutil.chown("/run/postgresql", "postgres", "postgres")
    tools = directory / "tools"
    tools.mkdir()
    tools.chmod(0o755)
    for name, text in (("systemctl", SYSTEMCTL), ("editor", EDITOR)):
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    os.environ["PATH"] = f"{tools}:/usr/local/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
    Path("/etc/kamailio/kamailio-local.cfg").write_text(LOCAL, encoding="utf-8")


def leave_network() -> None:
    """From here on only loopback, and every port is free."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        sys.exit(os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def schema() -> str:
    """All that pg_dump knows of the schema, privileges too; without what is random in it."""
    command: list[str | Path] = [
        "runuser",
        "-u",
        "postgres",
        "--",
        bin_directory() / "pg_dump",
        "--schema-only",
        "kamailio",
    ]
    dumped = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", dumped, flags=re.MULTILINE)


def close(server: Cluster) -> None:
    """Ask for passwords, as Debian's pg_hba.conf does."""
    (server.directory / "data" / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("select pg_reload_conf()")


def rehearse(directory: Path) -> None:
    """Adopt, look, and leave again.

    Raises:
        SystemExit: a command has failed.
        AssertionError: not all is as it should be.
    """
    adopt, look, leave = blocks()
    install, *adopt_commands = commands(adopt)
    assert len(adopt_commands) == 7
    cover(directory)
    shell(install)
    leave_network()
    settings = {"unix_socket_directories": "/run/postgresql"}
    with cluster(directory / "postgres", port=5432, settings=settings) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("alter role postgres password 'root'")
        create_by_kamdbctl(server, "kamailio")
        close(server)
        stock_schema, stock_text = schema(), STOCK.read_bytes()
        shell("systemctl restart kamailio")
        with Phone("anna", REALM, "", proxy=("127.0.0.1", 5060)) as phone:
            assert phone.register().status == 200
            said = shell("\n".join([*adopt_commands, look, "echo", FLUSH]))
        listed, flushed = [json.loads(each) for each in re.findall(r"^\{.*\}$", said, re.MULTILINE)]
        assert [(each["username"], each["realm"]) for each in listed["data"]] == [("anna", REALM)]
        assert (flushed["flushed"], flushed["pending"]) == (1, 0)  # the API may open Kamailio's socket
        shell(leave)
        assert STOCK.read_bytes() == stock_text
        assert schema() == stock_schema
        assert not Path("/opt/registrations").exists()
    print("readme: 8 commands, and out again")


if __name__ == "__main__":
    rehearse(Path(sys.argv[1]))
