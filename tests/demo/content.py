"""The content of the demo's database: this version's schema, the sample directory and three tokens."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg

from sql.access.tokens import create_token, list_tokens, revoke_token
from sql.connections.database import connect
from sql.settings import DatabaseSettings
from tests.demo.sample import DIRECTORY, Account
from tests.demo.settings import REPOSITORY, Mistake

NODES = "1=kamailio@demo"
NOTE = "demo"


def program(name: str) -> Path:
    """Return the path of one of our commands, installed beside this Python.

    Raises:
        Mistake: it is not installed.
    """
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise Mistake(f"{path} is missing; run `make setup`")
    return path


class Content:
    """Fills one database."""

    def __init__(self, url: str, *, directory: Path, log: Path) -> None:
        self._url = url
        self._seal = directory / "migrations.json"
        self._log = log

    def migrate(self) -> None:
        """Migrate the schema to this version.

        Raises:
            Mistake: the database was made with other migrations than this version's.
        """
        now = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((REPOSITORY / "sql" / "schema" / "migrations").glob("*.sql"))
        }
        # `migrate` does not read an applied migration again, so it would miss one that was edited since.
        before = json.loads(self._seal.read_text(encoding="utf-8")) if self._seal.exists() else {}
        if before.items() - now.items():
            raise Mistake(
                "the database of an earlier demo has the schema of another version; run `make clean`, then start again"
            )
        self._run("registrations-db", "migrate")
        self._seal.write_text(json.dumps(now, indent=1), encoding="utf-8")

    def forget_bindings(self) -> None:
        """Remove the bindings that a killed demo left. Kamailio must not run yet."""
        with psycopg.connect(self._url) as connection:
            connection.execute("delete from location")

    def knows_sources(self) -> bool:
        """Return whether the worker has written the source address of each phone."""
        unknown = "select from location l left join registration_source s using (ruid) where s.received is null limit 1"
        with psycopg.connect(self._url) as connection:
            return connection.execute(unknown).fetchone() is None

    def import_sample(self) -> None:
        """Import the sample directory. What is there already stays as it is."""
        self._run("registrations-db", "import", str(DIRECTORY))

    def renew_tokens(self, *accounts: Account) -> list[str]:
        """Revoke the tokens of earlier demos and make one for each account that never expires."""
        with connect(DatabaseSettings(database_url=self._url), application_name="demo") as connection:
            for token in list_tokens(connection):
                if token.note == NOTE:
                    revoke_token(connection, token.id)
            return [create_token(connection, account.id, idle_lifetime=None, note=NOTE)[1] for account in accounts]

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            env={**os.environ, "REGISTRATIONS_DATABASE_URL": self._url, "REGISTRATIONS_KAMAILIO_NODES": NODES},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{name} {' '.join(arguments)}\n{done.stdout}")
        if done.returncode:
            raise Mistake(
                f"`{name} {arguments[0]}` failed:\n{done.stdout.rstrip()}\n"
                "If the database is that of another version, remove it with `make clean`."
            )
