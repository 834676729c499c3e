"""The command `registrations-db import`, and what `registrations-sync import-kazoo` shares with it."""

import sys
from collections.abc import Callable

import click

from sql.connections.database import connect
from sql.console.mistakes import operators_mistakes
from sql.directory.importing import DELETE_AT_MOST, import_directory
from sql.directory.writing import ImportCounts
from sql.errors import DirectoryRefused, PermissionLacking
from sql.schema.record import require_current_schema
from sql.settings import DatabaseSettings
from sql.worker.enrichment import Reconciled, reconcile

replace_option = click.option(
    "--replace", is_flag=True, help="Delete accounts, owners and devices that are not imported."
)
delete_at_most_option = click.option(
    "--delete-at-most",
    metavar="PERCENT",
    type=click.IntRange(0, 100),
    default=DELETE_AT_MOST,
    show_default=True,
    help="With --replace: refuse to delete a larger share of the accounts, owners or devices if it is more than ten.",
)


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@replace_option
@delete_at_most_option
def import_command(files: tuple[str, ...], *, replace: bool, delete_at_most: int) -> None:
    """Import accounts, owners and devices from files, all or nothing.

    FILE... is one JSON file, or up to three CSV files, whose headers say which has accounts, owners or devices. Without
    --replace, what the files do not have stays as it is. A device may have a password or an ha1; without either it
    keeps its ha1.
    """
    with operators_mistakes():
        settings = DatabaseSettings()

        def import_files() -> ImportCounts:
            with connect(settings, application_name="registrations-db import", writes=True) as connection:
                require_current_schema(connection)
                return import_directory(
                    connection, files, replace=replace, delete_at_most=delete_at_most, report=report
                )

        import_and_tell(settings, import_files)


def report(line: str) -> None:
    """Report progress on standard error."""
    click.echo(line, err=True)


def import_and_tell(settings: DatabaseSettings, import_: Callable[[], ImportCounts]) -> None:
    """Import, update the registrations and print the counts. If the directory is refused, print why and exit with 1."""
    try:
        counts = import_()
    except DirectoryRefused as refused:
        for problem in refused.problems:
            click.echo(problem, err=True)
        click.echo("nothing was imported", err=True)
        sys.exit(1)
    done = _reconcile(settings)
    click.echo(f"accounts: {counts.account}")
    click.echo(f"owners: {counts.owner}")
    click.echo(f"devices: {counts.device}")
    if done.flushed:
        click.echo(f"registrations that the worker will flush: {done.flushed:,}")
    if counts.tokens_deleted:
        click.echo(f"tokens deleted with their accounts: {counts.tokens_deleted:,}")


def _reconcile(settings: DatabaseSettings) -> Reconciled:
    report("updating registrations")
    try:
        with connect(settings, application_name="registrations-db import") as connection:
            return reconcile(connection)
    except PermissionLacking:  # registrations_import cannot read them
        report("this role may not: the worker does it, within REGISTRATIONS_SYNC_RECONCILE_INTERVAL")
        return Reconciled(0, 0)
