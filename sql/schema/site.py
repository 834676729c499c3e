"""Facts of the site that the views need: Kamailio's time zone, its default realm, the names of its nodes."""

from collections.abc import Callable

from psycopg import sql

from sql.connections.database import Connection
from sql.settings import DatabaseSettings, parse_nodes
from sql.statements import fetch_row, statement


def write_site(connection: Connection, settings: DatabaseSettings, *, report: Callable[[str], None]) -> None:
    """Write the facts that are set and differ; those that are not set stay as they are in the database."""
    timezone, default_realm = fetch_row(connection, "site_facts")
    if settings.kamailio_timezone not in (None, timezone):
        report(f"Kamailio's time zone: {timezone} -> {settings.kamailio_timezone}")
        _define(connection, "site_timezone", settings.kamailio_timezone)
    if settings.kamailio_default_realm not in (None, default_realm):
        report(f"realm of AoRs without a domain: {default_realm or 'unset'} -> {settings.kamailio_default_realm}")
        _define(connection, "site_default_realm", settings.kamailio_default_realm)
    if settings.kamailio_nodes is not None:
        nodes = parse_nodes(settings.kamailio_nodes)
        with connection.transaction():
            connection.execute(statement("site_nodes_clear"), {"server_ids": list(nodes)})
            for server_id, name in nodes.items():
                connection.execute(
                    statement("site_node"),
                    {"server_id": server_id, "name": name, "hostname": name.rpartition("@")[2]},
                )


def _define(connection: Connection, name: str, value: str | None) -> None:
    # CREATE FUNCTION takes no parameters, so the value is a quoted literal.
    connection.execute(sql.SQL(statement(name)).format(value=sql.Literal(value)))
