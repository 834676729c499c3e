"""What is ours in a database and in Kamailio's tables: names, read from schema.sql and grants.csv.

A test compares both files with what the migrations make.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sql.schema.migration import KAMAILIO_TABLES

FOLDER = files("sql.schema")
ROLES = (
    "registrations_kamailio",
    "registrations_api",
    "registrations_sync",
    "registrations_report",
    "registrations_import",
)
# Of usrloc's own schema; its fourth index of location, on expires, is dropped.
KAMAILIO_INDEXES = {
    "location": ("location_account_contact_idx", "location_connection_idx", "location_tcpcon_idx"),
    "location_attrs": ("location_attrs_account_record_idx", "location_attrs_last_modified_idx"),
}
EXPIRES_INDEX = "location_expires_idx"
# Of location; the migration says why.
OPTIONS = {"fillfactor": "75", "autovacuum_vacuum_scale_factor": "0.05"}
# What is made on a database of kamdbctl alone, and so is not in schema.sql.
VIEWS_ON_KAMDBCTL = ("directory_of_devices", "directory_of_subscriber")
INDEXES_OF_SUBSCRIBER = ("subscriber_sip_aor_idx", "subscriber_sip_realm_idx")
TRIGGER_OF_SUBSCRIBER = "directory_note_change"


@dataclass(frozen=True, slots=True)
class OwnSchema:
    """Names of what the migrations make.

    Attributes:
        views: ours.
        tables: ours, but for the one that auth_db reads: its name depends on the database.
        functions: with their arguments, as DROP wants them.
        sequences: ours, but for those of identity columns.
        domains: ours.
        columns: of location, in their order.
        indexes: of location, and of Kamailio's subscriber.
    """

    views: list[str]
    tables: list[str]
    functions: list[str]
    sequences: list[str]
    domains: list[str]
    columns: list[str]
    indexes: list[str]


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege that one of our roles needs; `part` is a column. On database or schema, `object` is empty."""

    role: str
    kind: str
    object: str
    part: str
    privilege: str


@cache
def expected_grants() -> Sequence[Grant]:
    """The privileges in grants.csv, which `make schema` writes, and those on database and schema."""
    text = (FOLDER / "grants.csv").read_text(encoding="utf-8")
    lets_in = [(role, "database", "CONNECT") for role in ROLES] + [(role, "schema", "USAGE") for role in ROLES]
    lets_in.append(("registrations_import", "database", "TEMPORARY"))
    return [
        *(Grant(role, kind, "", "", privilege) for role, kind, privilege in lets_in),
        *(Grant(**row) for row in csv.DictReader(text.splitlines())),
    ]


@cache
def own_schema() -> OwnSchema:
    """What schema.sql says, which `make schema` writes."""
    text = schema_text()
    columns = re.findall(r"^    (\w+) ", _location(), re.M)
    indexes = re.findall(r"^CREATE INDEX (\w+) ON location ", text, re.M)
    return OwnSchema(
        views=[*VIEWS_ON_KAMDBCTL, *re.findall(r"^CREATE VIEW (\w+)", text, re.M)],
        tables=[name for name in re.findall(r"^CREATE TABLE (\w+)", text, re.M) if name not in KAMAILIO_TABLES],
        functions=re.findall(r"^CREATE FUNCTION (\w+\(.*?\)) RETURNS", text, re.M),
        sequences=[name for name in re.findall(r"^CREATE SEQUENCE (\w+)$", text, re.M) if "_id_" not in name],
        domains=re.findall(r"^CREATE DOMAIN (\w+)", text, re.M),
        columns=columns[columns.index("partition") + 1 :],  # ours come after Kamailio's
        indexes=[*(name for name in indexes if name not in KAMAILIO_INDEXES["location"]), *INDEXES_OF_SUBSCRIBER],
    )


def kamailio_widths() -> dict[str, int]:
    """Characters of the varchar columns of location, as Kamailio's own schema has them at the least."""
    found = re.findall(r"^    (\w+) character varying\((\d+)\)", _location(), re.M)
    return {name: int(width) for name, width in found}


@cache
def schema_text() -> str:
    """All of schema.sql."""
    return (FOLDER / "schema.sql").read_text(encoding="utf-8")


def _location() -> str:
    found = re.search(r"^CREATE TABLE location \((.*?)^\)", schema_text(), re.M | re.S)
    assert found is not None  # noqa: S101  # a test compares the file with the migrations
    return found[1]
