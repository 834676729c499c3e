"""Where Python finds the statements: one a file, beside the modules that use it."""

from functools import cache
from pathlib import Path
from typing import LiteralString

ROOM = Path(__file__).parent


@cache
def statement(name: str) -> LiteralString:
    """Read the file ``{name}.sql`` of this room; each name is there once.

    Raises:
        ValueError: there is no such file.
    """
    (path,) = ROOM.glob(f"*/{name}.sql")
    return path.read_text(encoding="utf-8")
