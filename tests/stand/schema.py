"""Schema and grants of a migrated database as text. `make schema` writes them, and a test compares them."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg

from sql.schema.migrate import migrate
from sql.schema.migration import all_migrations
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
HEAD = "-- What the migrations make of an empty database. Written by `make schema`; a test compares it."
# The beginning of each entry of pg_dump, and its commands and comments between entries.
ENTRY = re.compile(r"^--\n-- Name: (.+?); Type: ([A-Z ]+); Schema: .*\n--\n", re.MULTILINE)
NOISE = re.compile(r"^(--.*|SET .*|\\.*)\n", re.MULTILINE)
# Entries that need an object which may be created later.
LAST = ("TRIGGER", "FK CONSTRAINT")


def dump(url: str) -> str:
    """Return the schema of the database at `url`, without owners and privileges.

    The order is that of the migrations. Indexes, sequences and comments follow the object that they belong to.
    """
    options = ["--schema-only", "--no-owner", "--no-privileges"]
    text = subprocess.run(
        [bin_directory() / "pg_dump", *options, url], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    _, *parts = ENTRY.split(text)
    entries = []
    for name, kind, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        number, position = _place(_owner(name, kind, body))
        entries.append((number, kind in LAST, position, kind, NOISE.sub("", body).replace("public.", "").strip()))
    lines, section, before = [HEAD], None, ""
    for number, _, _, kind, body in sorted(entries, key=lambda each: each[:3]):
        if number != section:
            migration = all_migrations()[number]
            lines.append(
                "\n\n" + "\n".join(f"-- {line}" for line in (f"{migration.name}:", *migration.purpose.splitlines()))
            )
            section = number
        lines.append(body if kind == before == "COMMENT" else f"\n{body}")
        before = kind
    return "\n".join(lines) + "\n"


def _owner(name: str, kind: str, body: str) -> str:
    """The table, view, function, sequence or domain to which an entry of pg_dump belongs."""
    if kind in ("INDEX", "SEQUENCE", "SEQUENCE OWNED BY"):
        found = re.search(r"(?: ON|OWNED BY|ALTER TABLE) public\.(\w+)", body)
        return found[1] if found else name.removesuffix("_id_seq")
    if kind == "COMMENT":
        name = name.partition(" ")[2]
    return re.split(r"[ .(]", name)[0]


def _place(name: str) -> tuple[int, int]:
    """Return the number of the migration that creates an object, and the position in its text."""
    name = "directory_subscriber" if name == "subscriber" else name  # beside no table of Kamailio's
    for number, migration in enumerate(all_migrations()):
        made = rf"\bcreate (?:table|view|function|sequence|domain) (?:if not exists )?{name}\b|'create view {name} as '"
        if found := re.search(made, migration.text):
            return number, found.start()
    raise ValueError(f"no migration makes {name}")


def dump_grants(url: str) -> str:
    """Return the grants of our roles in the database at `url` as CSV. `check` compares other databases with it."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(GRANTS).fetchall()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("role", "kind", "object", "part", "privilege"))
    writer.writerows(rows)
    return text.getvalue()


def main() -> None:
    """Migrate an empty database in a temporary cluster, and write its schema and grants."""
    with tempfile.TemporaryDirectory() as directory, cluster(Path(directory)) as server:
        GRANTS_FILE.write_text("role,kind,object,part,privilege\n", encoding="utf-8")  # for `migrate` to read
        migrate(DatabaseSettings(database_url=server.url()))
        FILE.write_text(dump(server.url()), encoding="utf-8")
        GRANTS_FILE.write_text(dump_grants(server.url()), encoding="utf-8")


if __name__ == "__main__":
    main()
