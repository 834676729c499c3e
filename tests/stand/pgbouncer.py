"""A real PgBouncer in front of a cluster. It lets in every user that PostgreSQL lets in."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.stand.postgres import Cluster, as_postgres
from tests.stand.process import daemon, free_port, port_taken

ROLES = ("postgres", "registrations_api", "registrations_sync", "registrations_kamailio")


@contextlib.contextmanager
def pgbouncer(
    directory: Path, server: Cluster, *, pool_mode: str, port: int | None = None, settings: str = ""
) -> Iterator[int]:
    """Run a PgBouncer inside the `with` block and yield its port on 127.0.0.1.

    Args:
        directory: for its files; created if missing.
        server: the cluster behind it, for every database name.
        pool_mode: session, transaction or statement.
        port: default: a free one.
        settings: further lines of its configuration.
    """
    directory.mkdir(exist_ok=True)
    port = port or free_port()
    users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
    users.write_text("".join(f'"{role}" ""\n' for role in ROLES), encoding="utf-8")
    configuration.write_text(
        f"""
[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {pool_mode}
{settings}
""",
        encoding="utf-8",
    )
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise FileNotFoundError("PgBouncer is missing: `make test-packages` installs it")
    command = as_postgres([program, "-q", configuration])
    with daemon(command, log=directory / "log", ready=lambda: port_taken("127.0.0.1", port), name="pgbouncer"):
        yield port
