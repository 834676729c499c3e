"""registrations-api: the command that serves the API, by gunicorn."""

import logging
import logging.config
import os
import resource
import shutil
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
from api.server.addresses import refuse_bad_addresses
from api.server.arbiter import DrainingArbiter
from api.server.worker import EnvelopeWorker
from api.settings import ApiSettings
from kamailio.settings import KamailioSettings
from sql.connections.database import connect
from sql.console.logs import LogSettings, log_configuration
from sql.console.mistakes import operators_mistakes
from sql.errors import DatabaseUnreachable
from sql.schema.record import start_on_schema
from sql.settings import DatabaseSettings

# A DELETE ends within its budget and a few statements. A supervisor should wait as long for the server to stop.
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
    """End the pool's threads. From Python 3.13 on the interpreter waits for them at its end, for ever."""
    if worker.wsgi is not None:
        worker.wsgi.extensions["database"].close()


def _share_metrics() -> dict[str, Any]:
    """Make the directory in which the processes count (prometheus_client), and return gunicorn's hooks for it."""
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
        "keepalive": settings.api_keepalive,
        "proc_name": "registrations-api",
        "worker_exit": _close_database,
        "control_socket_disable": True,
        "logconfig_dict": log_configuration(log_settings),
    }


def _require_schema(settings: DatabaseSettings) -> None:
    """Refuse a stale schema. If the database is away, the API starts and answers 503 until it is back."""
    try:
        with connect(settings, application_name="registrations-api start") as connection:
            start_on_schema(connection)
    except DatabaseUnreachable as error:
        log.warning("starting without the database", extra={"action": "start", "cause": str(error)})


def _require_temporary_directory() -> None:
    """Long lists are stored there, and each of gunicorn's processes has a file there as its heartbeat."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise click.ClickException(f"TMPDIR: {error.strerror}") from error


def _allow_files() -> None:
    """Raise the limit of open files: each of gunicorn's 1,000 connections is one, and many systems allow 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # a filter of system calls may be in the way
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """The REST API, Crossbar's registrations endpoints; settings come from the environment."""


@main.command()
def serve() -> None:
    """Serve until SIGTERM, then finish the requests in progress."""
    _require_temporary_directory()
    with operators_mistakes():
        log_settings = LogSettings()
        logging.config.dictConfig(log_configuration(log_settings))
        settings = ApiSettings()
        KamailioSettings()
        _require_schema(DatabaseSettings())
    refuse_bad_addresses(settings)
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
@click.option("--socket", is_flag=True, help="Print the socket unit, with which a restart refuses nobody.")
def unit(*, socket: bool) -> None:
    """Print a unit for systemd that runs `serve` of this installation."""
    name = f"registrations-api.{'socket' if socket else 'service'}"
    text = files("api").joinpath(name).read_text(encoding="utf-8")
    click.echo(text.replace("/opt/registrations/bin", str(Path(sys.executable).parent)), nl=False)
