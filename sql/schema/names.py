"""Names that the migrations give to what they make, read from their own text.

A test holds them against the catalogs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from yoyo.migrations import Migration

from sql.schema.own_objects import KAMAILIO_INDEXES
from sql.schema.plan import KAMAILIO_TABLES

_COMMENT = re.compile(r"--.*")
_MADE = re.compile(
    r"\bcreate (?:or replace )?(?:unique )?(table|view|index|function|domain|type|sequence)"
    r"(?: concurrently)?(?: if not exists)? (\w+)",
    re.IGNORECASE,
)
_TRIGGER = re.compile(r"\bcreate (?:or replace )?(?:constraint )?trigger (\w+)[^;]*? on (\w+)", re.IGNORECASE)
# Each makes an index of its name, for which a relation of another table is as much in the way.
_CONSTRAINT = re.compile(r"\bconstraint (\w+) (?:unique|primary key|exclude)\b", re.IGNORECASE)
_ALTERED = re.compile(r"\balter table (?:if exists )?(\w+)([^;]*)", re.IGNORECASE)
_COLUMN = re.compile(r"\badd column (?:if not exists )?(\w+)", re.IGNORECASE)
# Kamailio's, which the migrations make where they are missing only.
_OF_KAMAILIO = {
    *KAMAILIO_TABLES,
    *(name for names in KAMAILIO_INDEXES.values() for name in names),
    "location_ruid_idx",
    "version_table_name_idx",
}
# Named by a parameter of format() in 0003 and 0020; see there why Kamailio's own table keeps its name.
_FORMATTED = {
    "0003-directory": ("directory_subscriber",),
    "0020-subscriber-table": ("directory_subscriber_aor_idx", "directory_subscriber_pkey"),
}


@dataclass(slots=True)
class Names:
    """What is made, by the kinds of which two may have one name; columns and triggers as ``table.name``."""

    relations: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    triggers: set[str] = field(default_factory=set)
    indexes: set[str] = field(default_factory=set)


def names_made_by(migrations: Iterable[Migration]) -> Names:
    """Read the names; those are among them that a later migration drops."""
    names = Names()
    for migration in migrations:
        migration.load()
        text = _COMMENT.sub("", migration.source)
        for kind, name in _MADE.findall(text):
            if kind == "function":
                names.functions.add(name)
                continue
            if name in _OF_KAMAILIO:
                continue
            if kind not in ("domain", "type"):
                names.relations.add(name)
            if kind in ("domain", "type", "table", "view"):
                names.types.add(name)
            if kind == "index":
                names.indexes.add(name)
        names.relations |= {*_CONSTRAINT.findall(text), *_FORMATTED.get(migration.id, ())} - _OF_KAMAILIO
        names.triggers |= {f"{table}.{name}" for name, table in _TRIGGER.findall(text)}
        names.columns |= {
            f"{table}.{name}" for table, changes in _ALTERED.findall(text) for name in _COLUMN.findall(changes)
        }
    return names
