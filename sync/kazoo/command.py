"""The operator's command `registrations-sync import-kazoo`."""

from time import sleep

import click

from sql.console.mistakes import operators_mistakes
from sql.directory.command import delete_at_most_option, import_and_tell, replace_option, report
from sql.settings import DatabaseSettings
from sync.kazoo.importing import import_from_kazoo
from sync.kazoo.settings import KazooSettings


@click.command("import-kazoo")
@click.argument("kazoo_url", metavar="URL")
@replace_option
@delete_at_most_option
def import_kazoo_command(kazoo_url: str, *, replace: bool, delete_at_most: int) -> None:
    """Import from Crossbar at URL the account of REGISTRATIONS_KAZOO_API_KEY_FILE and all below it.

    An interrupted pull goes on where it was. What Kazoo lacks stays as it is.
    """
    with operators_mistakes():
        database_settings, settings = DatabaseSettings(), KazooSettings()
        import_and_tell(
            database_settings,
            lambda: import_from_kazoo(
                kazoo_url,
                settings,
                database_settings,
                replace=replace,
                delete_at_most=delete_at_most,
                wait=sleep,
                report=report,
            ),
        )
