"""Our indexes of location on an expression of a column.

PostgreSQL rebuilds them when the type of the column changes, and no phone could register meanwhile. So they are dropped
before, and built again beside the running proxy.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from psycopg import sql

from sql.connections.database import Connection
from sql.schema.own_objects import schema_text
from sql.statements import statement

INDEXES_MADE_BY = "0002-location-indexes"


def expression_indexes(column: str) -> dict[str, str]:
    """Those on one column of location, from schema.sql: the name, and what follows it in CREATE INDEX."""
    found = re.findall(r"^CREATE INDEX (\w+) (ON location USING btree \(\(\n.*?);$", schema_text(), re.M | re.S)
    return {name: body for name, body in found if re.search(rf"\({column}\)|\b{column},", body)}


@contextmanager
def indexes_away(
    connection: Connection, indexes: Mapping[str, str], *, step: Callable[[str, Callable[[], None]], None]
) -> Iterator[None]:
    """Drop them, and build them again when the `with` ends, even by an error; both beside the running proxy.

    Args:
        connection: in autocommit mode; its time limit for locks is lifted.
        indexes: as `expression_indexes` returns them.
        step: called with the name of each step, and a function that takes it and may be repeated.
    """
    try:
        for index in indexes:
            step(f"index {index} goes, to be built anew", partial(_drop, connection, index))
        yield
    finally:
        for index, body in indexes.items():
            step(f"index {index}, beside the running proxy", partial(_build, connection, index, body))


def missing_indexes(connection: Connection, indexes: Mapping[str, str]) -> dict[str, str]:
    """Those that are missing, or whose build was interrupted."""
    rows = connection.execute(statement("widen_missing"), {"indexes": list(indexes)}).fetchall()
    return {index: indexes[index] for (index,) in rows}


def _drop(connection: Connection, index: str) -> None:
    connection.execute(statement("session_patience"))
    connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(index)))


def _build(connection: Connection, index: str, body: str) -> None:
    _drop(connection, index)
    connection.execute(sql.SQL("create index concurrently {} {}").format(sql.Identifier(index), sql.SQL(body)))
