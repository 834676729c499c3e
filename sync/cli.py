"""registrations-sync: the command that runs the worker."""

import logging
import sys

import click
from logfmter import Logfmter

from sql.check import find_problems
from sql.connections import Database, connect
from sql.errors import DatabaseUnreachable
from sql.migrate import require_current_schema
from sql.operators import operators_mistakes
from sql.settings import DatabaseSettings
from sync.jobs import Jobs
from sync.settings import SyncSettings
from sync.worker import Worker

log = logging.getLogger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamailio-registrations")
def main() -> None:
    """The worker that keeps account, device and owner on Kamailio's location rows."""
    handler = logging.StreamHandler()
    handler.setFormatter(Logfmter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a job that still runs is no news


@main.command()
def run() -> None:
    """Work until SIGTERM. Several may run; one of them leads."""
    with operators_mistakes():
        settings, database_settings = SyncSettings(), DatabaseSettings()
        try:
            with connect(database_settings, application_name="registrations-sync start") as connection:
                require_current_schema(connection)
        except DatabaseUnreachable as error:
            log.warning("starting without the database", extra={"action": "start", "cause": str(error)})
    sys.exit(Worker(settings, database_settings).run())


@main.command()
def once() -> None:
    """Do each job once and say what it wrote. It is safe beside a running worker."""
    with operators_mistakes():
        settings, database_settings = SyncSettings(), DatabaseSettings()
        with Database(
            database_settings,
            application_name="registrations-sync once",
            pool_size=1,
            statement_timeout=settings.sync_statement_timeout,
        ) as database:
            with database.connection() as connection:
                require_current_schema(connection)
            jobs = Jobs(database, settings)
            for job in (jobs.enrich, jobs.reconcile, jobs.expire):
                for what, count in job().items():
                    click.echo(f"{what}: {count}")


@main.command()
def check() -> None:
    """Say what is wrong with the settings or the database, and exit with 1 if anything is."""
    with operators_mistakes():
        SyncSettings()
        with connect(DatabaseSettings(), application_name="registrations-sync check") as connection:
            problems = find_problems(connection)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    click.echo("ok")
