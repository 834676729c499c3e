"""Pulls an account and all below it from Kazoo into the CSV files that an import takes; resumes an interrupted pull.

A resumed pull reads the lists again, which are cheap. A document costs a request, so the row that was made of it is
kept until the import is done, for a day at most.
"""

import csv
import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, time
from typing import IO

from pydantic import TypeAdapter

from sql.errors import DirectoryRefused
from sync.kazoo.client import KazooClient, refused_at
from sync.kazoo.errors import KazooMissing, KazooRefused
from sync.kazoo.rows import COLUMNS, Owner, Row, account_row, device_row, owner_of, parent_of
from sync.kazoo.shapes import Document, Unfit

KEPT_SECONDS = 86400
PROGRESS_SECONDS = 5.0
Report = Callable[[str], None]


class Journal:
    """The rows that a pull has made, by the path of their document in Kazoo.

    The file has the time of its beginning, then a line for each row: a path and the row.
    """

    def __init__(self, file: IO[str]) -> None:
        """Read what an interrupted pull left in the file, unless it began too long ago.

        A last line that was cut short does not count. If anything else is wrong with the file, a power failure damaged
        it, and none of it is used.
        """
        self._file = file
        try:
            begun, self._rows = _read(file)
        except (TypeError, ValueError, RecursionError):
            begun, self._rows = 0.0, {}
        if not 0 <= time() - begun < KEPT_SECONDS:
            begun, self._rows = time(), {}
        self.kept = len(self._rows)
        file.seek(0)
        file.truncate()
        file.write(f"{json.dumps(begun)}\n")
        file.writelines(f"{json.dumps([path, row])}\n" for path, row in self._rows.items())
        file.flush()

    def row(self, path: str, make: Callable[[], Row | None]) -> Row | None:
        """The row of a document; made and kept if it is not known yet."""
        if path not in self._rows:
            self._rows[path] = row = make()
            self._file.write(f"{json.dumps([path, row])}\n")
            self._file.flush()
        return self._rows[path]


def _read(file: IO[str]) -> tuple[float, dict[str, Row | None]]:
    file.seek(0)
    begun, *rows = [json.loads(line) for line in file if line.endswith("\n")]
    return TypeAdapter(tuple[float, dict[str, Row | None]]).validate_python((begun, dict(rows)), strict=True)


@contextmanager
def pulled(client: KazooClient, directory: Path, *, report: Report) -> Iterator[list[str]]:
    """Pull the account of the key and all below it, and yield the paths of the files.

    The files are deleted at the end of the ``with``, unless the import refuses them.

    Args:
        client: not logged in yet.
        directory: has a directory for each account whose key was used, with files that only their owner can read.
        report: called with a line of progress every few seconds.

    Raises:
        KazooRefused: Kazoo does not know the key, refuses a document or sends an invalid one, or the pull has reached a
            limit; or another pull is running.
        KazooUnreachable: Kazoo does not answer; the next pull resumes this one.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(client))
        root = client.log_in()
        directory = directory / f"kazoo-{root}"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        journal_file = stack.enter_context(_opened(directory / "journal", "a+"))
        try:
            fcntl.flock(journal_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KazooRefused(f"another import from Kazoo is running in {directory}") from error
        journal = Journal(journal_file)
        if journal.kept:
            report(f"resuming an interrupted import: {journal.kept:,} documents are here already")
        files = {kind: directory / f"{kind}.csv" for kind in COLUMNS}
        with ExitStack() as writing:
            writers = {kind: csv.writer(writing.enter_context(_opened(path, "w"))) for kind, path in files.items()}
            for kind, columns in COLUMNS.items():
                writers[kind].writerow(columns)
            for kind, row in _Tree(client, journal, report=report).rows(root):
                writers[kind].writerow(row)
        client.close()
        try:
            yield [str(path) for path in files.values()]
        except DirectoryRefused:
            journal_file.truncate(0)  # the next pull must see corrections in Kazoo; the problems name the files
            raise
        journal_file.truncate(0)
        for path in files.values():
            path.unlink()


class _Tree:
    """Walks over all accounts, their users and their devices."""

    def __init__(self, client: KazooClient, journal: Journal, *, report: Report) -> None:
        self._client = client
        self._journal = journal
        self._report = report
        self._due = monotonic() + PROGRESS_SECONDS
        self._counts = dict.fromkeys(COLUMNS, 0)

    def rows(self, root: str) -> Iterator[tuple[str, Row]]:
        parents = self._parents(root)
        for number, (account_id, parent_id) in enumerate(parents.items(), start=1):
            for kind, row in self._account_rows(account_id, parent_id):
                self._counts[kind] += 1
                if monotonic() >= self._due:
                    self._tell(f"account {number:,} of {len(parents):,}")
                yield kind, row
        self._tell("all")

    def _parents(self, root: str) -> dict[str, str]:
        """The IDs of all accounts, each with its parent's ID; that of the key has none."""
        parents = {root: ""}
        path = f"accounts/{root}/descendants"
        for summary in self._client.pages(path):  # without the account of the key
            with refused_at(path):
                account_id, parent_id = summary["id"], parent_of(summary)
                if parents.setdefault(account_id, parent_id) != parent_id:
                    raise Unfit(f"account {account_id} has two parents")
        for account_id, parent_id in parents.items():
            # Without --replace it could be a foreign account in our database.
            if parent_id and parent_id not in parents:
                raise KazooRefused(f"{path}: account {account_id} is below one that is not in the list")
        return parents

    def _account_rows(self, account_id: str, parent_id: str) -> Iterator[tuple[str, Row]]:
        path = f"accounts/{account_id}"
        account = self._row(path, lambda document: account_row(document, parent_id))
        if account is None:
            if not parent_id:
                raise KazooRefused(f"{path}: Kazoo does not have the account of the API key")
            return
        yield "accounts", account
        realm = account[COLUMNS["accounts"].index("realm")].lower()
        owners = self._owners(account_id)
        for owner in owners.values():
            yield "owners", owner.row
        for device_id in {summary["id"]: None for summary in self._client.pages(f"{path}/devices")}:
            device = self._row(
                f"{path}/devices/{device_id}", lambda document: device_row(document, account_id, realm, owners)
            )
            if device is not None:
                yield "devices", device

    def _owners(self, account_id: str) -> dict[str, Owner]:
        """Users by ID. A list may show a user twice if it changes between two pages."""
        path = f"accounts/{account_id}/users"
        with refused_at(path):
            owners = {each["id"]: owner_of(each, account_id) for each in self._client.pages(path)}
            for each in self._client.pages(path, filter_enabled="false"):
                owners.setdefault(each["id"], owner_of(each, account_id)).enabled = False
            for owner in owners.values():
                self._refuse_secrets([*owner.row, owner.presence_id])
        return owners

    def _row(self, path: str, make: Callable[[Document], Row | None]) -> Row | None:
        try:
            with refused_at(path):
                return self._journal.row(path, lambda: self._refuse_secrets(make(self._client.get(path))))
        except KazooMissing:  # deleted since it was listed
            return None

    def _refuse_secrets(self, row: Row | None) -> Row | None:
        if any(map(self._client.is_secret, row or ())):
            raise Unfit("a text contains our API key or token")
        return row

    def _tell(self, where: str) -> None:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.items())
        self._report(f"Kazoo: {where}; {counts}; {self._client.requests:,} requests")
        self._due = monotonic() + PROGRESS_SECONDS


def _opened(path: Path, mode: str) -> IO[str]:
    """Open a file that only its owner can read, since it holds hashes of passwords."""
    path.touch(mode=0o600)
    return path.open(mode, encoding="utf-8", newline="" if path.suffix == ".csv" else None)
