"""What of a database is ours, and what of Kamailio's tables: names, read from schema.sql and grants.csv.

A test keeps both equal to what the migrations make.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sql.schema.plan import KAMAILIO_TABLES

ROLES = (
    "registrations_kamailio",
    "registrations_api",
    "registrations_sync",
    "registrations_report",
    "registrations_import",
)
# Of usrloc's own schema; its fourth of location, on expires, is what the migrations drop.
KAMAILIO_INDEXES = {
    "location": ("location_account_contact_idx", "location_connection_idx", "location_tcpcon_idx"),
    "location_attrs": ("location_attrs_account_record_idx", "location_attrs_last_modified_idx"),
}
EXPIRES_INDEX = "location_expires_idx"
# Of location: room in each page for the next version of its rows, and a vacuum before the dead ones pile up.
OPTIONS = {"fillfactor": "75", "autovacuum_vacuum_scale_factor": "0.05"}
# What is made on a database of kamdbctl alone, and so is not in schema.sql.
ON_KAMDBCTL = ("view directory_of_devices", "view directory_of_subscriber")
INDEXES_OF_SUBSCRIBER = {
    "subscriber_aor_idx": "0018-subscriber-directory",
    "subscriber_realm_idx": "0018-subscriber-directory",
    "subscriber_sip_aor_idx": "0027-collation",
    "subscriber_sip_realm_idx": "0027-collation",
}
BOOKKEEPING = ("_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock")


@dataclass(frozen=True, slots=True)
class OwnSchema:
    """Names of what the migrations make.

    Attributes:
        objects: views, tables, functions and domains, as DROP wants them.
        columns: of location, in their order.
        indexes: of location, and of Kamailio's subscriber.
        table_indexes: of our own tables.
        triggers: of location.
    """

    objects: list[str]
    columns: list[str]
    indexes: list[str]
    table_indexes: list[str]
    triggers: list[str]


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege that one of the roles needs; `part` is a column. That on database and schema has no `object`."""

    role: str
    kind: str
    object: str
    part: str
    privilege: str


@cache
def expected_grants() -> Sequence[Grant]:
    """What sql/schema/grants.csv says, which `make schema` writes, and what lets each role into database and schema."""
    text = (files("sql.schema") / "grants.csv").read_text(encoding="utf-8")
    lets_in = [(role, "database", "CONNECT") for role in ROLES] + [(role, "schema", "USAGE") for role in ROLES]
    lets_in.append(("registrations_import", "database", "TEMPORARY"))
    return [
        *(Grant(role, kind, "", "", privilege) for role, kind, privilege in lets_in),
        *(Grant(**row) for row in csv.DictReader(text.splitlines())),
    ]


@cache
def own_schema() -> OwnSchema:
    """What sql/schema/schema.sql says, which `make schema` writes."""
    text = files("sql.schema").joinpath("schema.sql").read_text(encoding="utf-8").replace("public.", "")
    objects = [*ON_KAMDBCTL]
    objects += [f"view {name}" for name in re.findall(r"^CREATE VIEW (\w+)", text, re.M)]
    objects += [f"table {name}" for name in re.findall(r"^CREATE TABLE (\w+)", text, re.M)]
    objects += [f"function {each}" for each in re.findall(r"^CREATE FUNCTION (\w+\(.*?\)) RETURNS", text, re.M)]
    objects += [f"domain {name}" for name in re.findall(r"^CREATE DOMAIN (\w+)", text, re.M)]
    location = re.search(r"^CREATE TABLE location \((.*?)^\)", text, re.M | re.S)
    assert location is not None  # noqa: S101  # a test compares the file with the migrations
    columns = re.findall(r"^    (\w+) ", location[1], re.M)
    indexes = re.findall(r"^CREATE (?:UNIQUE )?INDEX (\w+) ON location ", text, re.M)
    return OwnSchema(
        objects=[each for each in objects if each.split()[1] not in KAMAILIO_TABLES],
        columns=columns[columns.index("partition") + 1 :],  # ours stand behind Kamailio's
        indexes=[*(name for name in indexes if name not in KAMAILIO_INDEXES["location"]), *INDEXES_OF_SUBSCRIBER],
        table_indexes=re.findall(r"^CREATE (?:UNIQUE )?INDEX (\w+) ON (?!location\b|location_attrs\b)", text, re.M),
        triggers=re.findall(r"^CREATE (?:CONSTRAINT )?TRIGGER (\w+) .*? ON location ", text, re.M),
    )


def kamailio_widths() -> dict[str, int]:
    """Characters of the varchar columns of location, as Kamailio's own schema has them at the least."""
    text = files("sql.schema").joinpath("schema.sql").read_text(encoding="utf-8")
    location = re.search(r"^CREATE TABLE public.location \((.*?)^\)", text, re.M | re.S)
    assert location is not None  # noqa: S101  # a test compares the file with the migrations
    found = re.findall(r"^    (\w+) character varying\((\d+)\)", location[1], re.M)
    return {name: int(width) for name, width in found}
