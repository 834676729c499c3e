"""Our indexes of location on an expression of a column.

PostgreSQL builds them anew when the type of the column changes, and no phone could register meanwhile. So they go
before, and are built again beside the running proxy.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.resources import files

from psycopg import sql

from sql.connections.database import Connection
from sql.statements import statement

INDEXES_MADE_BY = "0031-report-indexes"


def expression_indexes(column: str) -> dict[str, str]:
    """Those of one column of location, as schema.sql has them: name, and what follows CREATE INDEX and the name."""
    text = files("sql.schema").joinpath("schema.sql").read_text(encoding="utf-8").replace("public.", "")
    found = re.findall(r"^CREATE INDEX (\w+) (ON location USING btree \(\(\n.*?);$", text, re.M | re.S)
    return {name: body for name, body in found if re.search(rf"\({column}\)|\b{column},", body)}


@contextmanager
def indexes_away(
    connection: Connection, indexes: Mapping[str, str], *, step: Callable[[str, Callable[[], None]], None]
) -> Iterator[None]:
    """Drop them, and build them again at the end, however it ends; both beside the running proxy.

    Args:
        connection: in autocommit mode; its time limit for locks is lifted.
        indexes: as `expression_indexes` returns them.
        step: called with the name of each step, and what takes it, which may be repeated.
    """
    try:
        for index in indexes:
            step(f"index {index} goes, to be built anew", partial(_drop, connection, index))
        yield
    finally:
        for index, body in indexes.items():
            step(f"index {index}, beside the running proxy", partial(_build, connection, index, body))


def missing_indexes(connection: Connection, indexes: Mapping[str, str]) -> dict[str, str]:
    """Those that are not there, or whose building was interrupted."""
    rows = connection.execute(statement("widen_missing"), {"indexes": list(indexes)}).fetchall()
    return {index: indexes[index] for (index,) in rows}


def _drop(connection: Connection, index: str) -> None:
    connection.execute(statement("session_patience"))
    connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(index)))


def _build(connection: Connection, index: str, body: str) -> None:
    _drop(connection, index)
    connection.execute(sql.SQL("create index concurrently {} {}").format(sql.Identifier(index), sql.SQL(body)))
