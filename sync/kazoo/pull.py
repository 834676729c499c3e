"""Pulling an account's tree out of Kazoo into the files that an import takes; a pull that broke off goes on.

Lists are cheap and read anew. Documents cost a request each: what was made of them is kept until the import is done,
for a day at the most.
"""

import csv
import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, time
from typing import IO

from sql.errors import DirectoryRefused, KazooMissing, KazooRefused
from sync.kazoo.client import KazooClient, refused_at
from sync.kazoo.rows import COLUMNS, Owner, Row, account_row, device_row, owner_of, parent_of
from sync.kazoo.shapes import Document, Unfit

KEPT_SECONDS = 86400
PROGRESS_SECONDS = 5.0
Report = Callable[[str], None]


class Journal:
    """Rows of documents by their path in Kazoo, one line each; a line that a break cut short does not count."""

    def __init__(self, file: IO[str]) -> None:
        """Read what an earlier pull left in the file, unless it began too long ago."""
        self._file = file
        self._rows: dict[str, Row | None] = {}
        file.seek(0)
        lines = [line for line in file.readlines() if line.endswith("\n")]
        begun = json.loads(lines[0]) if lines else 0.0
        if not 0 <= time() - begun < KEPT_SECONDS:
            lines, begun = [], time()
        self._rows = dict(json.loads(line) for line in lines[1:])
        file.seek(0)
        file.truncate()
        file.writelines(lines or [f"{json.dumps(begun)}\n"])
        file.flush()
        self.kept = len(self._rows)

    def row(self, path: str, make: Callable[[], Row | None]) -> Row | None:
        """The row of a document, made now if it is not there yet."""
        if path not in self._rows:
            self._rows[path] = row = make()
            self._file.write(f"{json.dumps([path, row])}\n")
            self._file.flush()
        return self._rows[path]


@contextmanager
def pulled(client: KazooClient, directory: Path, *, report: Report) -> Iterator[list[str]]:
    """Pull the tree of the key's account, and lend the files for an import.

    Args:
        client: not logged in yet.
        directory: for the files, each account of a key in its own directory below; readable by their owner alone.
        report: called with a line now and then.

    Raises:
        KazooRefused: Kazoo does not know the key or does not give something, or not such as it should be, or no end of
            it; or another pull is at it.
        KazooUnreachable: Kazoo is away; the next pull goes on from here.
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
            raise KazooRefused(f"another import from Kazoo is at work in {directory}") from error
        journal = Journal(journal_file)
        if journal.kept:
            report(f"going on after a break: {journal.kept:,} documents are here already")
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
        except DirectoryRefused:  # the next pull is to see what is mended in Kazoo; the files stay, for the lines named
            journal_file.truncate(0)
            raise
        journal_file.truncate(0)
        for path in files.values():
            path.unlink()


class _Tree:
    """One walk over all accounts: of each its row, its users, its devices."""

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
        """The account of the key, and each below it with the ID of the one above."""
        parents = {root: ""}
        path = f"accounts/{root}/descendants"
        for summary in self._client.pages(path):  # the account of the key is not in it, and no other twice
            with refused_at(path):
                account_id, parent_id = summary["id"], parent_of(summary)
                if parents.setdefault(account_id, parent_id) != parent_id:
                    raise Unfit(f"account {account_id} has two places in the tree")
        for account_id, parent_id in parents.items():
            if parent_id and parent_id not in parents:  # without --replace it could be an account of somebody else's
                raise KazooRefused(f"{path}: account {account_id} is below one that is not in the list")
        return parents

    def _account_rows(self, account_id: str, parent_id: str) -> Iterator[tuple[str, Row]]:
        path = f"accounts/{account_id}"
        account = self._row(path, lambda document: account_row(document, parent_id))
        if account is None:
            if not parent_id:
                raise KazooRefused(f"{path}: Kazoo does not have the account that the API key is of")
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
        """Users by their ID. A list may show one twice, when it changes between two pages."""
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
        except KazooMissing:  # it went since it was listed
            return None

    def _refuse_secrets(self, row: Row | None) -> Row | None:
        if any(map(self._client.is_secret, row or ())):
            raise Unfit("our API key or token is in a text that others would see")
        return row

    def _tell(self, where: str) -> None:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.items())
        self._report(f"Kazoo: {where}; {counts}; {self._client.requests:,} requests")
        self._due = monotonic() + PROGRESS_SECONDS


def _opened(path: Path, mode: str) -> IO[str]:
    """Open a file of ours; hashes of passwords are in it, so nobody else reads it."""
    path.touch(mode=0o600)
    return path.open(mode, encoding="utf-8", newline="" if path.suffix == ".csv" else None)
