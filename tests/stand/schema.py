"""Schema and grants of a migrated database as text: what `make schema` writes into sql/schema/, and a test compares."""

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
# How pg_dump begins each entry, and the commands that it puts between them.
ENTRY = re.compile(r"^--\n-- Name: (.+?); Type: ([A-Z ]+); Schema: .*\n--\n", re.MULTILINE)
NOISE = re.compile(r"^(--.*|SET .*|\\.*)\n", re.MULTILINE)
# What needs another object that may be made later.
LAST = ("TRIGGER", "FK CONSTRAINT")


def dump(url: str) -> str:
    """Return the schema of the database at `url`, without owners and privileges.

    It reads as the migrations do: what each of them made, in that order, and what belongs to an object behind it.
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
    """The number of the migration that made an object, and where in its text."""
    name = "directory_subscriber" if name == "subscriber" else name  # beside no table of Kamailio's
    for number, migration in enumerate(all_migrations()):
        made = rf"\bcreate (?:table|view|function|sequence|domain) (?:if not exists )?{name}\b|'create view {name} as '"
        if found := re.search(made, migration.text):
            return number, found.start()
    raise ValueError(f"no migration makes {name}")


def dump_grants(url: str) -> str:
    """Return as CSV what our roles are granted in the database at `url`, which `check` compares with others."""
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
        GRANTS_FILE.write_text("role,kind,object,part,privilege\n", encoding="utf-8")  # `migrate` gives what it names
        migrate(DatabaseSettings(database_url=server.url()))
        FILE.write_text(dump(server.url()), encoding="utf-8")
        GRANTS_FILE.write_text(dump_grants(server.url()), encoding="utf-8")


if __name__ == "__main__":
    main()
