"""Names that migrations give to what they make, read from their own text.

A test compares them with the catalogs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sql.schema.migration import KAMAILIO_TABLES, Migration
from sql.schema.own_objects import KAMAILIO_INDEXES

_COMMENT = re.compile(r"--.*")
_MADE = re.compile(
    r"\bcreate (?:unique )?(table|view|index|sequence|function|domain)(?: concurrently)?(?: if not exists)? (\w+)",
    re.IGNORECASE,
)
_TRIGGER = re.compile(r"\bcreate (?:constraint )?trigger (\w+)[^;]*? on (\w+)", re.IGNORECASE)
# Each makes an index of its name.
_CONSTRAINT = re.compile(r"\bconstraint (\w+) (?:unique|primary key|exclude)\b", re.IGNORECASE)
_ALTERED = re.compile(r"\balter table (\w+)([^;]*)", re.IGNORECASE)
_COLUMN = re.compile(r"\badd column (\w+)", re.IGNORECASE)
# Kamailio's, which the migrations make where they are missing only.
_OF_KAMAILIO = {
    *KAMAILIO_TABLES,
    *(name for names in KAMAILIO_INDEXES.values() for name in names),
    "location_ruid_idx",
    "version_table_name_idx",
}


@dataclass(slots=True)
class Names:
    """What is made, by the kinds of which two may have one name; columns and triggers as ``table.name``."""

    relations: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    triggers: set[str] = field(default_factory=set)


def names_made_by(migrations: Iterable[Migration]) -> Names:
    """Read the names; those are among them that a later migration drops."""
    names = Names()
    for migration in migrations:
        text = _COMMENT.sub("", migration.text)
        made = [(kind.lower(), name) for kind, name in _MADE.findall(text) if name not in _OF_KAMAILIO]
        names.functions |= {name for kind, name in made if kind == "function"}
        names.relations |= {name for kind, name in made if kind in ("table", "view", "index", "sequence")}
        names.relations |= {*_CONSTRAINT.findall(text)} - _OF_KAMAILIO
        names.types |= {name for kind, name in made if kind in ("table", "view", "domain")}
        names.triggers |= {f"{table}.{name}" for name, table in _TRIGGER.findall(text)}
        names.columns |= {
            f"{table}.{name}" for table, changes in _ALTERED.findall(text) for name in _COLUMN.findall(changes)
        }
    return names
