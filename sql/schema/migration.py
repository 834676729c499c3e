"""A migration: one SQL file, which opens with what it is for and which of Kamailio's tables it locks.

A test compares the second with the locks that PostgreSQL gives.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# What usrloc, registrar and auth_db read and write while phones register.
KAMAILIO_TABLES = ("location", "location_attrs", "subscriber", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of migrations/.

    Attributes:
        name: of the file, without .sql; they are applied in the order of their names.
        purpose: the comment that it opens with.
        lock: what it locks and for how long, the sentences of that comment from "Locks" on.
        has_transaction: whether it is applied in one transaction; else statement by statement.
        text: all of it.
    """

    name: str
    purpose: str
    lock: str
    has_transaction: bool
    text: str

    @property
    def locked(self) -> frozenset[str]:
        """Those of Kamailio's tables that it locks against writers."""
        return frozenset(self.lock.partition(".")[0].replace(",", " ").split()) & frozenset(KAMAILIO_TABLES)


def read_migration(name: str, text: str) -> Migration:
    """Read the head of a file.

    Raises:
        ValueError: it does not say what it locks.
    """
    head = text.partition("\n\n")[0].replace("-- ", "")
    purpose, said, rest = head.partition("\nLocks ")
    if not said:
        raise ValueError(f"{name}: the comment that it opens with has no line that begins with Locks")
    lock, outside, _ = rest.partition("\nRuns outside a transaction")
    return Migration(
        name=name,
        purpose=purpose,
        lock="Locks " + lock.replace("\n", " "),
        has_transaction=not outside,
        text=text,
    )


@cache
def all_migrations() -> tuple[Migration, ...]:
    """Those of this version, in their order."""
    folder = files("sql.schema") / "migrations"
    paths = sorted((path for path in folder.iterdir() if path.name.endswith(".sql")), key=lambda path: path.name)
    return tuple(read_migration(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8")) for path in paths)
