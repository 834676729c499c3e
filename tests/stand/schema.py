"""Schema and grants of a migrated database as text: what `make schema` writes into sql/, and a test compares."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg

from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.stand.postgres import bin_directory, cluster

FILE = Path(__file__).parents[2] / "sql" / "schema" / "schema.sql"
GRANTS_FILE = FILE.with_name("grants.csv")
GRANTS = """
    select g.grantee::regrole::text, kind, object, part, privilege_type
    from (
        select case relkind when 'S' then 'sequence' else 'table' end as kind, oid::regclass::text as object,
            null as part, acl.*
        from pg_class, aclexplode(relacl) acl where relnamespace = 'public'::regnamespace
        union all
        select 'column', attrelid::regclass::text, attname, acl.* from pg_attribute, aclexplode(attacl) acl
        union all
        select 'function', oid::regprocedure::text, null, acl.*
        from pg_proc, aclexplode(proacl) acl where pronamespace = 'public'::regnamespace
    ) g
    where g.grantee <> 0 and g.grantee::regrole::text like 'registrations!_%' escape '!'
    order by 1, 2, 3, 4 nulls first, 5
"""
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


def dump_grants(url: str) -> str:
    """Return as CSV what the four roles are granted in the database at `url`, which `check` compares with others."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(GRANTS).fetchall()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("role", "kind", "object", "part", "privilege"))
    writer.writerows(rows)
    return text.getvalue()


def main() -> None:
    """Migrate an empty database of a cluster made for the purpose, and write its schema and grants."""
    with tempfile.TemporaryDirectory() as directory, cluster(Path(directory)) as server:
        migrate(DatabaseSettings(database_url=server.url()))
        FILE.write_text(dump(server.url()), encoding="utf-8")
        GRANTS_FILE.write_text(dump_grants(server.url()), encoding="utf-8")


if __name__ == "__main__":
    main()
