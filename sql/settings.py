"""Settings of the database, and facts about Kamailio that the SQL views need."""

import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENCODED = "in the password of a URL write % as %25, @ as %40, / as %2F"


class DatabaseSettings(BaseSettings):
    """Read from the environment, each with the prefix ``REGISTRATIONS_``."""

    model_config = SettingsConfigDict(env_prefix="REGISTRATIONS_")

    database_url: str = Field(
        min_length=1,
        description="libpq URL or DSN of Kamailio's database; several hosts and target_session_attrs work as in libpq",
    )
    database_connect_timeout: int = Field(3, ge=1, le=60, description="seconds to wait for a connection")
    database_statement_timeout: float = Field(
        5.0,
        gt=0,
        le=300,
        description="seconds after which PostgreSQL cancels a statement of the API",
    )
    kamailio_timezone: str | None = Field(
        None,
        description="Kamailio's time zone, UTC unless set; matters only for TIMESTAMP columns (kamdbctl)",
    )
    kamailio_default_realm: str | None = Field(
        None,
        description="realm of AoRs without a domain (usrloc use_domain=0). Unset: the realm of the only account; with "
        "several accounts such rows are in no list",
    )
    kamailio_nodes: str | None = Field(
        None,
        description="names of the Kamailio nodes, `server_id=name,...`; a name such as `kamailio@sip1.example.com` "
        "also gives the host",
    )

    @field_validator("database_url")
    @classmethod
    def _libpq_reads_it(cls, url: str) -> str:
        try:
            conninfo_to_dict(url)
        except psycopg.Error:  # its message contains the URL, and so a password
            raise ValueError(f"libpq cannot read it; {ENCODED}") from None
        parts = urlsplit(url)
        if parts.scheme in {"postgresql", "postgres"} and ("@" in parts.path or parts.netloc.count("@") > 1):
            # Otherwise libpq would take the end of the password for the host, and messages name the host.
            raise ValueError(f"its password has a @ or a /; {ENCODED}")
        return url

    @field_validator("kamailio_timezone")
    @classmethod
    def _zone_exists(cls, zone: str | None) -> str | None:
        if not zone:
            return None
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {zone!r}; try a name such as Europe/Berlin") from None
        return zone

    @field_validator("kamailio_default_realm")
    @classmethod
    def _realm_in_lower_case(cls, realm: str | None) -> str | None:
        return realm.encode().lower().decode() if realm else None  # A to Z alone, as sip_lower in SQL

    @field_validator("kamailio_nodes")
    @classmethod
    def _nodes_are_pairs(cls, nodes: str | None) -> str | None:
        parse_nodes(nodes or "")
        return nodes


def parse_nodes(nodes: str) -> dict[int, str]:
    """Read ``1=kamailio@sip1.example.com,2=...``.

    Returns:
        Names by server_id.

    Raises:
        ValueError: names the part that is not ``server_id=name``, or the server_id given twice.
    """
    names: dict[int, str] = {}
    for part in filter(None, (part.strip() for part in nodes.split(","))):
        match = re.fullmatch(r"(\d+)\s*=\s*(\S+)", part)
        if match is None:
            raise ValueError(f"{part!r} is not server_id=name")
        server_id = int(match[1])
        if server_id in names:
            raise ValueError(f"server_id {server_id} has two names")
        names[server_id] = match[2]
    return names
