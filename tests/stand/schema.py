"""The schema of a migrated database as text: what `make schema` writes into sql/schema.sql, and a test compares."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from sql.migrate import migrate
from sql.settings import DatabaseSettings
from tests.stand.postgres import bin_directory, cluster

FILE = Path(__file__).parents[2] / "sql" / "schema.sql"
HEAD = "-- What the migrations make of an empty database. Written by `make schema`; a test compares it.\n\n"
# pg_dump's own comments, settings and (since its minor releases of 2025) commands for psql.
NOISE = re.compile(r"^(--.*|SET .*|SELECT pg_catalog.*|\\.*)\n", re.MULTILINE)


def dump(url: str) -> str:
    """Return the schema of the database at `url`, without owners, privileges and the tables of yoyo."""
    options = ["--schema-only", "--no-owner", "--no-privileges", "--no-comments", "--exclude-table=*yoyo*"]
    text = subprocess.run(
        [bin_directory() / "pg_dump", *options, url], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return HEAD + re.sub(r"\n{3,}", "\n\n", NOISE.sub("", text)).strip() + "\n"


def main() -> None:
    """Migrate an empty database of a cluster made for the purpose, and write its schema."""
    with tempfile.TemporaryDirectory() as directory, cluster(Path(directory)) as server:
        migrate(DatabaseSettings(database_url=server.url()))
        FILE.write_text(dump(server.url()), encoding="utf-8")


if __name__ == "__main__":
    main()
