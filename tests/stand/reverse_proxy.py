"""nginx and HAProxy in front of the API, with the configuration that api/README.md shows."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.stand.process import daemon, free_port, port_taken

README = Path(__file__).parents[2] / "api" / "README.md"
KINDS = ("nginx", "haproxy")
HOST = "127.0.0.1"


def documented(kind: str) -> str:
    """The example of the README."""
    examples = re.findall(rf"^```{kind}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(examples) == 1, f"one example for {kind}"
    return str(examples[0])


def _put(text: str, **places: str) -> str:
    for old, new in places.items():
        assert text.count(old) == 1, f"{old} stands in the example once"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def reverse_proxy(kind: str, directory: Path, *, api_port: int) -> Iterator[int]:
    """Run one for the time of the `with`; yields its port on 127.0.0.1.

    Args:
        kind: of KINDS.
        directory: that is there, for its files.
        api_port: where the API listens on 127.0.0.1; and a free port of ours for 80, that is all that is changed.
    """
    program = shutil.which(kind, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise FileNotFoundError(f"no {kind} here: `make test-packages` installs it")
    port = free_port()
    configuration = directory / f"{kind}.conf"
    api = {"127.0.0.1:8000": f"{HOST}:{api_port}"}
    command: list[str | Path]
    if kind == "nginx":
        temporary = "".join(
            f"{what}_temp_path {directory / what}; " for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        site = _put(documented(kind), **api, **{"listen 80;": f"listen {HOST}:{port};"})
        configuration.write_text(
            f"pid {directory / 'pid'}; error_log stderr; daemon off; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{site} }}\n",
            encoding="utf-8",
        )
        command = [program, "-e", "stderr", "-p", directory, "-c", configuration]
    else:
        site = _put(documented(kind), **api, **{"bind :80": f"bind {HOST}:{port}"})
        configuration.write_text(site, encoding="utf-8")
        command = [program, "-db", "-f", configuration]
    log = directory / f"{kind}.log"
    with daemon(command, log=log, ready=lambda: port_taken(HOST, port), name=kind):
        yield port
