"""The worker's job that imports from Kazoo. Unlike other jobs it may run for hours."""

import logging
from collections.abc import Callable
from threading import Event

from sql.directory.importing import DELETE_AT_MOST
from sql.errors import DatabaseError, DatabaseUnreachable
from sql.settings import DatabaseSettings
from sync.kazoo.errors import KazooError
from sync.kazoo.importing import import_from_kazoo
from sync.kazoo.settings import KazooSettings

log = logging.getLogger(__name__)


class _Stopping(Exception):
    """The worker is stopping or is no longer leader. The next import resumes the pull."""


def import_kazoo(
    url: str,
    settings: KazooSettings,
    database_settings: DatabaseSettings,
    *,
    stopping: Event,
    leads: Callable[[], bool],
) -> dict[str, int]:
    """Import the account of the API key and all below it, and delete what Kazoo does not have.

    A failure is logged; the next run tries again.

    Raises:
        DatabaseUnreachable: PostgreSQL is unreachable.
    """

    def wait(seconds: float) -> None:
        if stopping.wait(seconds):
            raise _Stopping
        if not leads():
            log.warning("import stopped: another worker is leader", extra={"action": "import_kazoo"})
            raise _Stopping

    try:
        counts = import_from_kazoo(
            url,
            settings,
            database_settings,
            replace=True,
            delete_at_most=DELETE_AT_MOST,
            wait=wait,
            report=lambda line: log.info("import progress", extra={"action": "import_kazoo", "progress": line}),
        )
    except _Stopping:
        return {}
    except DatabaseUnreachable:
        raise
    except (DatabaseError, KazooError) as error:
        log.warning("import failed", extra={"action": "import_kazoo", "cause": str(error)})
        return {}
    return {"created": counts.device.created, "updated": counts.device.updated, "deleted": counts.device.deleted}
