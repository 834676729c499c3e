"""An import whose files are pulled out of Kazoo first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sql.connections.database import connect
from sql.directory.importing import import_directory
from sql.directory.writing import ImportCounts
from sql.errors import KazooRefused
from sql.schema.migrate import require_current_schema
from sql.settings import DatabaseSettings
from sync.kazoo.client import KazooClient
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
    """Bring accounts, owners and devices to what Kazoo has below the account of the API key.

    Args:
        url: of Crossbar, ``https://kazoo.example.com:8443``.
        settings: the key, the pace, and where files are kept meanwhile.
        database_settings: connected to only before the pull, to see that it is not in vain, and after it.
        replace: and delete what Kazoo does not have.
        delete_at_most: percent; see :func:`import_directory`.
        wait: spends so many seconds; what it raises ends the pull, and the next one goes on from there.
        report: called with a line now and then.

    Raises:
        KazooRefused: Kazoo does not know the key, or does not give what is wanted; or its files cannot be written here.
        KazooUnreachable: Kazoo is away; the next call goes on from here.
        DirectoryRefused: Kazoo's documents do not make a directory; the files stay, for the lines that are named.
        DatabaseUnreachable: PostgreSQL is away, or takes no writes.
        StatementFailed: the role lacks a grant.
        SchemaStale: the database lacks migrations.
    """
    with connect(database_settings, application_name="registrations import", writes=True) as connection:
        require_current_schema(connection)
    client = KazooClient(url, settings, wait=wait)
    # No transaction is open, and no connection to PostgreSQL, while Kazoo is waited for.
    with (
        _files_written(),
        pulled(client, settings.kazoo_directory, report=report) as files,
        connect(database_settings, application_name="registrations import") as connection,
    ):
        wait(0)  # a worker that was frozen until now must not write what another has imported newer
        return import_directory(
            connection, files, replace=replace, delete_at_most=delete_at_most, may_empty=False, report=report
        )


@contextmanager
def _files_written() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # a full disk, a directory of another user
        raise KazooRefused(f"REGISTRATIONS_KAZOO_DIRECTORY: {error}") from error
