"""An import from Kazoo: pull its accounts, users and devices into files, then import those."""

from collections.abc import Callable

from sql.connections.database import connect
from sql.directory.importing import import_directory
from sql.directory.writing import ImportCounts
from sql.schema.record import require_current_schema
from sql.settings import DatabaseSettings
from sync.kazoo.client import KazooClient
from sync.kazoo.errors import KazooRefused
from sync.kazoo.pull import pulled
from sync.kazoo.settings import KazooSettings


def import_from_kazoo(
    url: str,
    settings: KazooSettings,
    database_settings: DatabaseSettings,
    *,
    replace: bool,
    delete_at_most: int,
    wait: Callable[[float], object],
    report: Callable[[str], None],
) -> ImportCounts:
    """Import the account of the API key and all accounts below it, with their users and devices.

    Args:
        url: of Crossbar, ``https://kazoo.example.com:8443``.
        settings: the key, the rate, the limits and the directory for the files.
        database_settings: used before the pull, to find out early whether the database takes writes, and after it.
        replace: delete accounts, owners and devices that Kazoo does not have.
        delete_at_most: percent; see :func:`import_directory`.
        wait: called with the seconds to wait; what it raises ends the pull, which the next call resumes.
        report: called with a line of progress every few seconds.

    Raises:
        KazooRefused: Kazoo does not know the key or refuses a request, or the files cannot be written.
        KazooUnreachable: Kazoo does not answer; the next call resumes the pull.
        DirectoryRefused: Kazoo's documents make no valid directory. The files are kept, since the problems name them.
        DatabaseUnreachable: PostgreSQL is unreachable or takes no writes.
        StatementFailed: the role lacks a privilege.
        SchemaStale: the database lacks migrations.
    """
    with connect(database_settings, application_name="registrations import", writes=True) as connection:
        require_current_schema(connection)
    client = KazooClient(url, settings, wait=wait)
    try:
        # While we wait for Kazoo, no connection to PostgreSQL is open.
        with (
            pulled(client, settings.kazoo_directory, report=report) as files,
            connect(database_settings, application_name="registrations import") as connection,
        ):
            wait(0)  # raises in a worker that was frozen and is no longer leader: another may have imported newer data
            return import_directory(
                connection, files, replace=replace, delete_at_most=delete_at_most, may_empty=False, report=report
            )
    except OSError as error:  # such as a full disk, or a directory that belongs to another user
        raise KazooRefused(f"REGISTRATIONS_KAZOO_DIRECTORY: {error}") from error
