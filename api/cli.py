"""registrations-api: the command that serves the API, by gunicorn."""

import logging
import logging.config
import os
import resource
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from gunicorn.app.base import BaseApplication

from api.access import callers
from api.app import create_app
from api.paths import template
from api.server.arbiter import DrainingArbiter
from api.server.worker import EnvelopeWorker
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.connections.database import connect
from sql.console.logs import LogSettings, log_configuration
from sql.console.mistakes import operators_mistakes
from sql.errors import DatabaseUnreachable
from sql.schema.migrate import start_on_schema
from sql.settings import DatabaseSettings

# A DELETE that is under way ends within its budget and a few statements; supervisors should wait as long.
GRACE_SECONDS = 10

log = logging.getLogger(__name__)


class _Server(BaseApplication):
    """gunicorn with our settings in place of its command line and files."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(ApiSettings(), DatabaseSettings(), KamailioSettings())

    def run(self) -> None:
        DrainingArbiter(self).run()


def _close_database(_arbiter: Any, worker: Any) -> None:
    """End the pool's threads before the interpreter does, which from Python 3.13 on waits for them in vain."""
    if worker.wsgi is not None:
        worker.wsgi.extensions["database"].close()


def _share_metrics() -> dict[str, Any]:
    """Give the processes a directory for what they count, as prometheus_client wants it, and return their hooks."""
    directory = tempfile.mkdtemp(prefix="registrations-api-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory

    def forget(_arbiter: Any, worker: Any) -> None:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # reads the variable

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]

    return {"child_exit": forget, "on_exit": lambda _arbiter: shutil.rmtree(directory, ignore_errors=True)}


def _gunicorn_options(settings: ApiSettings, log_settings: LogSettings) -> dict[str, Any]:
    return {
        "bind": [settings.api_bind, *filter(None, [settings.api_metrics_listen])],
        **(_share_metrics() if settings.api_metrics_listen else {}),
        "workers": settings.api_workers,
        "worker_class": EnvelopeWorker,
        "threads": settings.api_threads,
        "graceful_timeout": int(settings.api_flush_budget) + GRACE_SECONDS,
        "timeout": int(settings.api_flush_budget) + 2 * GRACE_SECONDS,
        "proc_name": "registrations-api",
        "worker_exit": _close_database,
        "control_socket_disable": True,
        "logconfig_dict": log_configuration(log_settings),
    }


def _require_schema(settings: DatabaseSettings) -> None:
    """Refuse a stale schema. A database that is away is waited for: the API answers 503 until it is there."""
    try:
        with connect(settings, application_name="registrations-api start") as connection:
            start_on_schema(connection)
    except DatabaseUnreachable as error:
        log.warning("starting without the database", extra={"action": "start", "cause": str(error)})


def _refuse_taken_addresses(settings: ApiSettings) -> None:
    """Name the setting whose address cannot be had; gunicorn would try for five seconds, and names none.

    Raises:
        ClickException: another program has it, it is not this machine's, or the user may not.
    """
    if {"LISTEN_FDS", "GUNICORN_FD"} & os.environ.keys():
        return  # the sockets come from systemd, or from the server that this one replaces
    for name in ("api_bind", "api_metrics_listen"):
        bind = getattr(settings, name)
        if not bind or bind.startswith("unix:"):
            continue
        host, _, port = bind.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                pass
        except OSError as error:
            raise click.ClickException(f"REGISTRATIONS_{name.upper()}: {bind}: {error.strerror}") from error


def _require_temporary_directory() -> None:
    """Long lists are kept there, and gunicorn's processes have a file each to show that they live."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise click.ClickException(f"TMPDIR: {error.strerror}") from error


def _allow_files() -> None:
    """Each of gunicorn's 1,000 connections is a file, and so is what requests need; many systems give 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # a filter of system calls may be in the way
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """The REST API, Crossbar's registrations endpoints; settings come from the environment."""


@main.command()
def serve() -> None:
    """Serve until SIGTERM; requests that are under way are finished."""
    _require_temporary_directory()
    with operators_mistakes():
        log_settings = LogSettings()
        logging.config.dictConfig(log_configuration(log_settings))
        settings = ApiSettings()
        KamailioSettings()
        _require_schema(DatabaseSettings())
    _refuse_taken_addresses(settings)
    _allow_files()
    _Server(_gunicorn_options(settings, log_settings)).run()


@main.command()
def routes() -> None:
    """Print every endpoint with its method and who may call it; connects to nothing."""
    with operators_mistakes():
        app = create_app(ApiSettings(), DatabaseSettings(), KamailioSettings())
    rows = sorted(
        (template(rule), method, callers(app, rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for path, method, who in rows:
        click.echo(f"{path:{widths[0]}}  {method:{widths[1]}}  {who}")


@main.command()
def unit() -> None:
    """Print a unit for systemd that runs `serve` of this very installation."""
    text = files("api").joinpath("registrations-api.service").read_text(encoding="utf-8")
    click.echo(text.replace("/opt/registrations/bin", str(Path(sys.executable).parent)), nl=False)
