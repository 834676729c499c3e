"""The part of the database that is not ours: usrloc's own columns, and every other table that kamdbctl made."""

from __future__ import annotations

from collections import defaultdict

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.adoption.ledger import Names

SEPARATOR = " | "
LOCATION = """
    select username, domain, ruid, contact, received, path, q, callid, cseq, flags, cflags, user_agent, socket, methods,
        instance, reg_id, server_id, sign(connection_id) as connection, keepalive,
        extract(epoch from expires - last_modified)::int as seconds
    from location order by id
"""
TABLES = """
    select table_name, array_agg(column_name::text order by ordinal_position)
        filter (where data_type not like 'timestamp%' and column_name <> 'id') as columns
    from information_schema.columns join information_schema.tables using (table_schema, table_name)
    where table_schema = 'public' and table_type = 'BASE TABLE' and table_name <> 'location'
    group by table_name order by table_name
"""


def location(url: str, names: Names) -> dict[str, str]:
    """Return the rows of location by username, one line for each row, with the columns as usrloc wrote them."""
    rows: defaultdict[str, list[str]] = defaultdict(list)
    with psycopg.connect(url, row_factory=dict_row) as database:
        for row in database.execute(LOCATION).fetchall():
            row["ruid"] = names.ruid(row["ruid"], row["username"])
            rows[row["username"]].append(SEPARATOR.join(f"{name}={value!r}" for name, value in row.items()))
    return {username: "\n".join(sorted(lines)) for username, lines in rows.items()}


def stock_tables(url: str) -> dict[str, list[str]]:
    """Return kamdbctl's tables with their columns, except location, times and serial numbers."""
    with psycopg.connect(url) as database:
        return {str(name): list(columns) for name, columns in database.execute(TABLES).fetchall()}


def contents(url: str, tables: dict[str, list[str]]) -> dict[str, str]:
    """Return the rows of these tables, one line for each row."""
    found = {}
    with psycopg.connect(url) as database:
        for table, columns in tables.items():
            query = sql.SQL("select {} from {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("public", table)
            )
            found[table] = "\n".join(sorted(map(repr, database.execute(query).fetchall())))
    return found
