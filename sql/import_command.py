"""The operator's command `registrations-db import`."""

import sys
from time import sleep

import click

from sql.connections import connect
from sql.directory_import import DELETE_AT_MOST, import_directory
from sql.directory_writing import ImportCounts
from sql.enrichment import Reconciled, reconcile
from sql.errors import DirectoryRefused, PermissionLacking
from sql.kazoo_import import import_from_kazoo
from sql.kazoo_settings import KazooSettings
from sql.migrate import require_current_schema
from sql.operators import operators_mistakes
from sql.settings import DatabaseSettings


def _report(line: str) -> None:
    click.echo(line, err=True)


@click.command("import")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--from-kazoo",
    "kazoo_url",
    metavar="URL",
    help="Instead of files: the account of REGISTRATIONS_KAZOO_API_KEY_FILE and all below it, from Crossbar at URL. "
    "A pull that broke off goes on where it was.",
)
@click.option("--replace", is_flag=True, help="They are the whole directory: delete what they do not have.")
@click.option(
    "--delete-at-most",
    metavar="PERCENT",
    type=click.IntRange(0, 100),
    default=DELETE_AT_MOST,
    show_default=True,
    help="With --replace: refuse what would delete a larger share of accounts, owners or devices, but for ten of each.",
)
def import_command(files: tuple[str, ...], *, kazoo_url: str | None, replace: bool, delete_at_most: int) -> None:
    """Bring accounts, owners and devices to what the files say, all of it or nothing.

    FILE... is one JSON, or CSV of accounts, owners and devices, which are told apart by their headers. What the files
    do not have stays as it is. A device may come with a password or an ha1; without either it keeps its ha1.
    """
    if bool(files) == bool(kazoo_url):
        raise click.UsageError("give files, or --from-kazoo URL")
    with operators_mistakes():
        database_settings = DatabaseSettings()
        try:
            if kazoo_url:
                counts = import_from_kazoo(
                    kazoo_url,
                    KazooSettings(),
                    database_settings,
                    replace=replace,
                    delete_at_most=delete_at_most,
                    wait=sleep,
                    report=_report,
                )
            else:
                counts = _import_files(database_settings, files, replace=replace, delete_at_most=delete_at_most)
        except DirectoryRefused as refused:
            for problem in refused.problems:
                click.echo(problem, err=True)
            click.echo("nothing was imported", err=True)
            sys.exit(1)
        done = _reconcile(database_settings)
    click.echo(f"accounts: {counts.account}")
    click.echo(f"owners: {counts.owner}")
    click.echo(f"devices: {counts.device}")
    if done.flushed:
        click.echo(f"registrations to be flushed by the worker: {done.flushed:,}")
    if counts.tokens_deleted:
        click.echo(f"{counts.tokens_deleted:,} token(s) went with their accounts")


def _reconcile(settings: DatabaseSettings) -> Reconciled:
    _report("bringing registrations up to date")
    try:
        with connect(settings, application_name="registrations-db import") as connection:
            return reconcile(connection)
    except PermissionLacking:  # registrations_import does not see them
        _report("this role may not: the worker does it, within REGISTRATIONS_SYNC_RECONCILE_INTERVAL")
        return Reconciled(0, 0)


def _import_files(
    settings: DatabaseSettings, files: tuple[str, ...], *, replace: bool, delete_at_most: int
) -> ImportCounts:
    with connect(settings, application_name="registrations-db import", writes=True) as connection:
        require_current_schema(connection)
        return import_directory(connection, files, replace=replace, delete_at_most=delete_at_most, report=_report)
