"""The README's steps on a running proxy, as an operator takes them: at Debian's stock proxy, by our commands."""

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
    """Lay out a stock proxy that stores its bindings.

    Args:
        url: of a database of kamdbctl.
        directory: for its files.
        db_mode: of usrloc.
        lines: of the operator's own, below that parameter.
        features: such as WITH_AUTH.
    """
    own = f'modparam("usrloc", "db_mode", {db_mode})\n#!endif\n{lines}#!ifdef WITH_USRLOCDB'
    with stock_proxy(directory, database_url=url, realm=REALM, features=features, edits={MODE: own}) as proxy:
        yield proxy


def run(proxy: StockProxy, url: str, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of ours with the settings of this proxy and this database."""
    environment = {**os.environ, "REGISTRATIONS_DATABASE_URL": url, "REGISTRATIONS_KAMAILIO_RPC": proxy.rpc_url}
    return subprocess.run(
        [BIN / command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def done(proxy: StockProxy, url: str, command: str, *arguments: str | Path) -> str:
    """Run a command that must succeed; returns what it printed."""
    result = run(proxy, url, command, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def migrate_and_patch(proxy: StockProxy, url: str, *options: str) -> None:
    """Take steps 2 and 3."""
    done(proxy, url, "registrations-db", "migrate")
    done(proxy, url, "registrations-kamailio", "patch", "--write", *options, proxy.configuration)


def adopt(proxy: StockProxy, url: str, *options: str) -> None:
    """Take steps 2 to 4, at a proxy that runs, and do what the worker of step 6 does, once."""
    migrate_and_patch(proxy, url, *options)
    proxy.stop()
    proxy.start()
    done(proxy, url, "registrations-sync", "once")
