"""The indexes on id of one of usrloc's tables, and the same indexes on the column that will replace it."""

import re
from dataclasses import dataclass

from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.kamailio_tables.views import Column
from sql.statements import statement

# The column id in the definition of an index, quoted or not. Other quoted names, and strings, match as a whole.
ID = re.compile(r"""('(?:[^']|'')*'|"(?!id"(?!"))(?:[^"]|"")*")|"id"|\bid\b""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index that has the column id.

    Attributes:
        wide_name: name of the same index on the second column, until that replaces id.
        head: the command that makes that index, up to the table.
        body: the rest of the command that made this one, from USING on.
        is_built: None if there is none yet, False if building it was interrupted.
        kept: commands that restore what is dropped with this one, such as its comment.
    """

    name: str
    is_primary: bool
    wide_name: str
    head: str
    body: str
    tablespace: str
    is_built: bool | None
    kept: list[str]

    @property
    def build(self) -> str:
        """The command that makes the same index on the second column."""
        return self.head + ID.sub(lambda found: found[1] or "id_wide", self.body)


def find_indexes(connection: Connection, column: Column) -> list[Index]:
    """Read from the catalogs the indexes that use that id, by their names."""
    values = {"table_oid": column.table_oid, "number": column.number}
    with connection.cursor(row_factory=class_row(Index)) as cursor:
        return cursor.execute(statement("widen_indexes"), values).fetchall()
