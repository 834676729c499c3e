"""The addresses to listen at, tried before gunicorn does: it tries for five seconds, and names no setting."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

import click
from gunicorn.systemd import SD_LISTEN_FDS_START, listen_fds

from api.settings import ApiSettings


def refuse_bad_addresses(settings: ApiSettings) -> None:
    """Look whether each address can be had, and name the setting of one that cannot.

    Raises:
        ClickException: another program has it, it is not this machine's, the user may not, or systemd passed sockets
            and it is none of them.
    """
    if "GUNICORN_FD" in os.environ:
        return  # the sockets come from the server that this one replaces
    if passed := listen_fds(unset_environment=False):
        _refuse_sockets_of_systemd(settings, passed)
        return
    for name in ("api_bind", "api_metrics_listen"):
        bind = getattr(settings, name)
        if bind:
            try:
                _try(bind)
            except OSError as error:
                raise _complaint(name, bind, error.strerror or str(error)) from error


def _complaint(name: str, bind: str, why: str) -> click.ClickException:
    return click.ClickException(f"REGISTRATIONS_{name.upper()}: {bind}: {why}")


def _try(bind: str) -> None:
    if bind.startswith("unix:"):
        path = bind.removeprefix("unix:")
        with socket.socket(socket.AF_UNIX) as client, suppress(FileNotFoundError, ConnectionRefusedError):
            client.connect(path)
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if Path(path).is_socket():
            Path(path).unlink()  # of a server that was killed
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
        Path(path).unlink()
        return
    host, _, port = bind.rpartition(":")
    with socket.create_server((host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        pass


def _refuse_sockets_of_systemd(settings: ApiSettings, passed: int) -> None:
    """Gunicorn serves at the sockets of systemd and at no others. The metrics are known by their port or path."""
    names = [_name_of(SD_LISTEN_FDS_START + number) for number in range(passed)]
    metrics = settings.api_metrics_listen and settings.api_metrics_listen.rpartition(":")[2]
    if metrics and metrics not in names:
        wanted = settings.api_metrics_listen or ""
        stream = wanted.removeprefix("unix:")
        raise _complaint("api_metrics_listen", wanted, f"the socket unit has no ListenStream={stream}")
    if not set(names) - {metrics}:
        raise _complaint("api_bind", settings.api_bind, "the socket unit has no ListenStream= but the metrics'")


def _name_of(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        name = listener.getsockname()
    return str(name[1]) if isinstance(name, tuple) else str(name)
