"""Where Python finds the statements: one a file in sql/statements, called by the file's name."""

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """Read ``sql/statements/{name}.sql``.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return files("sql").joinpath("statements", f"{name}.sql").read_text(encoding="utf-8")
