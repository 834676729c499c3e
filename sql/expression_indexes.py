"""Our indexes of location on an expression of a column.

PostgreSQL builds them anew when the type of the column changes, and no phone could register meanwhile. So they go
before, and are built again beside the running proxy.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files

from psycopg import sql

from sql.connections import Connection
from sql.statements import statement


def expression_indexes(column: str) -> dict[str, str]:
    """Those of one column of location, as sql/schema.sql has them: name, and what follows CREATE INDEX and the name."""
    text = files("sql").joinpath("schema.sql").read_text(encoding="utf-8").replace("public.", "")
    found = re.findall(r"^CREATE INDEX (\w+) (ON location USING btree \(\(\n.*?);$", text, re.M | re.S)
    return {name: body for name, body in found if re.search(rf"\({column}\)|\b{column},", body)}


@contextmanager
def indexes_away(
    connection: Connection, indexes: Mapping[str, str], *, report: Callable[[str], None]
) -> Iterator[None]:
    """Drop them, and build them again at the end, however it ends; both beside the running proxy.

    Args:
        connection: in autocommit mode; its time limit for locks is lifted.
        indexes: as `expression_indexes` returns them.
        report: called with one line for each step.
    """
    connection.execute(statement("session_patience"))
    try:
        for index in indexes:
            report(f"index {index} goes, to be built anew")
            connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(index)))
        yield
    finally:
        build_missing(connection, indexes, report=report)


def build_missing(connection: Connection, indexes: Mapping[str, str], *, report: Callable[[str], None]) -> bool:
    """Build those that are missing, or were interrupted, beside the running proxy; returns whether there were any.

    Args:
        connection: in autocommit mode; its time limit for locks is lifted.
        indexes: as `expression_indexes` returns them.
        report: called with one line for each that is built.
    """
    connection.execute(statement("session_patience"))
    missing = connection.execute(statement("widen_missing"), {"indexes": list(indexes)}).fetchall()
    for (index,) in missing:
        report(f"index {index}, beside the running proxy")
        name = sql.Identifier(index)
        connection.execute(sql.SQL("drop index concurrently if exists {}").format(name))
        connection.execute(sql.SQL("create index concurrently {} {}").format(name, sql.SQL(indexes[index])))
    return bool(missing)
