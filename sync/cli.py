"""registrations-sync: the command of the worker."""

import getpass
import json
import logging
import logging.config
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path

import click

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database, connect
from sql.console.finding import EXIT_UNKNOWN, as_object, as_text, exit_status
from sql.console.logs import LogSettings, log_configuration
from sql.console.mistakes import operators_mistakes
from sql.errors import DatabaseUnreachable
from sql.flushes.requests import account_exists, request_flush
from sql.schema.record import require_current_schema, start_on_schema
from sql.settings import DatabaseSettings
from sync.check.all import find_all
from sync.flush_retries import Flusher
from sync.jobs import Jobs
from sync.kazoo.command import import_kazoo_command
from sync.metrics import Metrics
from sync.settings import SyncSettings
from sync.worker import Worker

log = logging.getLogger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """The worker: it keeps account, device and owner on Kamailio's location rows, and retries flushes."""
    with operators_mistakes():
        logging.config.dictConfig(log_configuration(LogSettings()))


@main.command()
def run() -> None:
    """Run the worker until SIGTERM. Several may run; one of them leads."""
    with operators_mistakes():
        settings, database_settings = SyncSettings(), DatabaseSettings()
        metrics = Metrics(accounts=settings.sync_metrics_accounts)
        nodes = Nodes(KamailioSettings(), observe=metrics.call)
        worker = Worker(settings, database_settings, nodes, metrics)
        try:
            with connect(database_settings, application_name="registrations-sync start") as connection:
                start_on_schema(connection)
        except DatabaseUnreachable as error:
            log.warning("starting without the database", extra={"action": "start", "cause": str(error)})
    if settings.sync_metrics_listen:
        try:
            metrics.serve(settings.sync_metrics_listen)
        except (OSError, OverflowError) as error:
            raise click.ClickException(f"REGISTRATIONS_SYNC_METRICS_LISTEN: {error}") from error
    sys.exit(worker.run())


@main.command()
def once() -> None:
    """Run each job once and print what it wrote. It is safe beside a running worker."""
    with operators_mistakes():
        settings, database_settings, nodes = SyncSettings(), DatabaseSettings(), Nodes(KamailioSettings())
        with _opened(settings, database_settings, "registrations-sync once") as database:
            jobs = Jobs(database, nodes, settings)
            every: list[Callable[[], dict[str, int]]] = [jobs.enrich, jobs.reconcile, jobs.expire]
            every += [partial(job, node) for node in nodes.ids for job in (jobs.fetch, jobs.flush)]
            for job in every:
                for what, count in job().items():
                    click.echo(f"{what}: {count}")


@contextmanager
def _opened(settings: SyncSettings, database_settings: DatabaseSettings, name: str) -> Iterator[Database]:
    """Open a database whose schema is current, for a command."""
    # Without the pool, which would retry and warn before it raises.
    with connect(database_settings, application_name=name) as connection:
        require_current_schema(connection)
    timeout = settings.sync_statement_timeout
    with Database(database_settings, application_name=name, pool_size=1, statement_timeout=timeout) as database:
        yield database


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the user may have no name
        return str(os.getuid())


@main.command()
@click.argument("account_id", metavar="ACCOUNT")
@click.argument("username", required=False)
@click.option("--wait", is_flag=True, help="Wait until every node has confirmed, or until --timeout.")
@click.option("--timeout", default=60.0, show_default=True, help="Maximum of seconds that --wait waits.")
def flush(account_id: str, username: str | None, *, wait: bool, timeout: float) -> None:
    """Flush the bindings of ACCOUNT, or of one of its USERNAMEs.

    A running worker retries what nodes do not confirm now. Exits with 1 if a node has not confirmed at the end.
    """
    with operators_mistakes():
        settings, database_settings, nodes = SyncSettings(), DatabaseSettings(), Nodes(KamailioSettings())
        with _opened(settings, database_settings, "registrations-sync flush") as database:
            with database.connection() as connection:
                if not account_exists(connection, account_id):
                    raise click.ClickException(f"there is no account {account_id}")
                promised = request_flush(
                    connection,
                    account_id,
                    username=username,
                    cause="command",
                    requested_by=_user(),
                    lease=0.0,  # the worker may help at once
                    late=nodes.write_late(),
                )
            if promised is None:
                raise click.ClickException(f"account {account_id} has no device and no registration {username}")
            flusher = Flusher(database, nodes, settings)
            with click.progressbar(length=promised.shown, label="flushed", file=sys.stderr) as bar:
                left = flusher.carry_out(promised, patience=timeout if wait else 0.0, progress=bar.update)
    flushed = promised.shown - left.shown
    click.echo(f"flush {promised.id}: {flushed} of {promised.shown} flushed, {left.bindings} pending")
    if left.unsettled:
        click.echo("not every node has confirmed; the worker retries", err=True)
        sys.exit(1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(*, as_json: bool) -> None:
    """Check the database, the directory, the worker and every node of Kamailio. Changes nothing.

    Exits like a Nagios plugin: 0 all well, 1 a warning, 2 a fault, 3 the check cannot be made.
    """
    with operators_mistakes(exit_code=EXIT_UNKNOWN):
        findings = find_all(SyncSettings(), DatabaseSettings(), KamailioSettings())
    click.echo(json.dumps(as_object(findings), indent=2) if as_json else as_text(findings))
    sys.exit(exit_status(findings))


@main.command()
def unit() -> None:
    """Print a systemd unit for `run` of this installation."""
    text = files("sync").joinpath("registrations-sync.service").read_text(encoding="utf-8")
    click.echo(text.replace("/opt/registrations/bin", str(Path(sys.executable).parent)), nl=False)


main.add_command(import_kazoo_command)
