"""Finds the SQL statements: one a file, beside the modules that use it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, LiteralString

import psycopg

ROOM = Path(__file__).parent


@cache
def statement(name: str) -> LiteralString:
    """Read the file ``{name}.sql``. Each name exists once in this room.

    Raises:
        ValueError: there is no such file.
    """
    (path,) = ROOM.glob(f"*/{name}.sql")
    return path.read_text(encoding="utf-8")


def fetch_row(connection: psycopg.Connection[Any], name: str, values: Mapping[str, object] | None = None) -> Any:
    """Execute a statement that always returns a row, and return that row."""
    row = connection.execute(statement(name), values).fetchone()
    assert row is not None, name  # noqa: S101
    return row
