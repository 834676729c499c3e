"""The steps of the adoption guide at Debian's stock proxy, taken with our commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.stand.stock import StockProxy, stock_proxy

BIN = Path(sys.executable).parent
MODE = 'modparam("usrloc", "db_mode", 2)'
REALM = "example.com"


@contextmanager
def stock(
    url: str, directory: Path, *, db_mode: int = 1, lines: str = "", features: Sequence[str] = ()
) -> Iterator[StockProxy]:
    """Prepare a stock proxy that stores its bindings.

    Args:
        url: URL of a database of kamdbctl.
        directory: for its files.
        db_mode: usrloc's mode.
        lines: the operator's own lines below that parameter.
        features: defines such as WITH_AUTH.
    """
    own = f'modparam("usrloc", "db_mode", {db_mode})\n#!endif\n{lines}#!ifdef WITH_USRLOCDB'
    with stock_proxy(directory, database_url=url, realm=REALM, features=features, edits={MODE: own}) as proxy:
        yield proxy


def run(proxy: StockProxy, url: str, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of our commands with the settings of this proxy and this database."""
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": proxy.rpc_url}
    return subprocess.run(
        [BIN / command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def done(proxy: StockProxy, url: str, command: str, *arguments: str | Path) -> str:
    """Run a command that must succeed, and return its output."""
    result = run(proxy, url, command, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def migrate_and_patch(proxy: StockProxy, url: str, *options: str) -> None:
    """Migrate the database and patch kamailio.cfg."""
    done(proxy, url, "registrations-db", "migrate")
    done(proxy, url, "registrations-kamailio", "patch", "--write", *options, proxy.configuration)


def adopt(proxy: StockProxy, url: str, *options: str) -> None:
    """Migrate, patch and restart a running proxy, and run the worker's jobs once."""
    migrate_and_patch(proxy, url, *options)
    proxy.stop()
    proxy.start()
    done(proxy, url, "registrations-sync", "once")
