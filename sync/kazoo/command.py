"""The operator's command `registrations-sync import-kazoo`."""

from time import sleep

import click

from sql.console.mistakes import operators_mistakes
from sql.directory.command import delete_at_most_option, import_and_tell, replace_option, report
from sql.directory.writing import ImportCounts
from sql.settings import DatabaseSettings
from sync.kazoo.errors import KazooError
from sync.kazoo.importing import import_from_kazoo
from sync.kazoo.settings import KazooSettings


@click.command("import-kazoo")
@click.argument("kazoo_url", metavar="URL")
@replace_option
@delete_at_most_option
def import_kazoo_command(kazoo_url: str, *, replace: bool, delete_at_most: int) -> None:
    """Import an account of Kazoo and all accounts below it, from Crossbar at URL.

    The account is that of the API key in REGISTRATIONS_KAZOO_API_KEY_FILE. An import that was interrupted less than a
    day ago is resumed. Without --replace, what Kazoo does not have stays as it is.
    """
    with operators_mistakes():
        database_settings, settings = DatabaseSettings(), KazooSettings()

        def import_() -> ImportCounts:
            return import_from_kazoo(
                kazoo_url,
                settings,
                database_settings,
                replace=replace,
                delete_at_most=delete_at_most,
                wait=sleep,
                report=report,
            )

        try:
            import_and_tell(database_settings, import_)
        except KazooError as error:
            raise click.ClickException(str(error)) from error
