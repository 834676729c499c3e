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


class KazooImport:
    """Imports the account of the API key and all below it, and deletes what Kazoo does not have."""

    def __init__(
        self,
        url: str,
        settings: KazooSettings,
        database_settings: DatabaseSettings,
        *,
        stopping: Event,
        leads: Callable[[], bool],
    ) -> None:
        self._url = url
        self._settings = settings
        self._database_settings = database_settings
        self._stopping = stopping
        self._leads = leads

    def import_kazoo(self) -> dict[str, int]:
        """Import once. A failure is logged; the next run tries again.

        Raises:
            DatabaseUnreachable: PostgreSQL is unreachable.
        """
        try:
            counts = import_from_kazoo(
                self._url,
                self._settings,
                self._database_settings,
                replace=True,
                delete_at_most=DELETE_AT_MOST,
                wait=self._wait,
                report=lambda line: log.info("import progress", extra={"action": "import_kazoo", "progress": line}),
            )
        except _Stopping:
            return {}
        except DatabaseUnreachable:
            raise
        except (DatabaseError, KazooError) as error:
            log.warning("import failed", extra={"action": "import_kazoo", "cause": str(error)})
            return {}
        return {
            "created": counts.device.created,
            "updated": counts.device.updated,
            "deleted": counts.device.deleted,
        }

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopping
        if not self._leads():
            log.warning("import stopped: another worker is leader", extra={"action": "import_kazoo"})
            raise _Stopping
