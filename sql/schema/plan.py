"""What a migration is about to do to a live proxy, told beforehand: its purpose, and which of its tables it locks.

Read from the migration's own text; a test holds it against the locks that PostgreSQL gives.
"""

import re
from dataclasses import dataclass

from yoyo.migrations import Migration

# What usrloc, registrar and auth_db read and write while phones register.
KAMAILIO_TABLES = ("location", "location_attrs", "subscriber", "version")
_COMMENT = re.compile(r"--.*")
# Of the commands that change a table, those whose lock Kamailio's statements would meet.
_TABLE = rf"({'|'.join(KAMAILIO_TABLES)})\b"
_LOCKING = re.compile(
    rf"\b(?:lock (?:table )?{_TABLE}|(?:alter|drop) table (?:if exists )?(?:only )?{_TABLE}(?!\s+(?:set|reset)\s*\()"
    rf"|create (?:or replace )?(?:constraint )?trigger [^;]*? on {_TABLE})",
    re.IGNORECASE,
)
_INDEXING = re.compile(rf"\bcreate (?:unique )?index (?!concurrently)[^;]*? on {_TABLE}", re.IGNORECASE)
_CONCURRENTLY = re.compile(rf"\bindex concurrently [^;]*? on {_TABLE}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMigration:
    """One migration that a database lacks.

    Attributes:
        name: as yoyo records it.
        purpose: what it is for, in words: the comment that it opens with.
        locks: those of Kamailio's tables that it locks, or may lock, against writers until it is committed.
        lock: the same in words, with how long it can last.
    """

    name: str
    purpose: str
    locks: frozenset[str]
    lock: str


def planned(migration: Migration) -> PlannedMigration:
    """Tell what a migration would do."""
    migration.load()
    text = _COMMENT.sub("", migration.source)
    locks = frozenset(found for match in _LOCKING.finditer(text) for found in match.groups() if found)
    indexed = frozenset(match[1] for match in _INDEXING.finditer(text))
    if indexed:
        lock = (
            f"keeps writers (kamctl) from {', '.join(sorted(indexed))} while its indexes are built, seconds for a "
            "million rows; Kamailio, which reads it, does not wait"
        )
    elif locks:
        lock = (
            f"locks {', '.join(sorted(locks))} for some milliseconds, reading no row; waits 50 ms at the most for the "
            "lock, then tries again"
        )
    elif _CONCURRENTLY.search(text):
        lock = "builds indexes beside the running proxy, as long as that takes; no REGISTER waits"
    else:
        lock = "locks no table of Kamailio's"
    return PlannedMigration(
        name=migration.id, purpose=migration.module.__doc__.strip().split("\n\n")[0], locks=locks | indexed, lock=lock
    )
