"""A column of usrloc's tables, and the views that use it.

PostgreSQL refuses to change the type of a column that a view uses. So the transaction that changes the column drops its
views and makes them again, with everything that DROP loses.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from sql.connections import Connection
from sql.errors import SchemaRefused
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the catalogs have it.

    Attributes:
        width: characters of a varchar(n); None of any other type.
        default: an expression.
        sequence: the one that the default uses.
        owns_sequence: whether dropping the column drops that sequence.
        kept: commands that set the privileges on this column and its comment.
    """

    table_oid: int
    number: int
    type: str
    width: int | None
    default: str | None
    sequence: str | None
    sequence_type: str | None
    owns_sequence: bool
    kept: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view that uses a column.

    Attributes:
        definition: the command that makes it.
        commands: they then set its owner, privileges, defaults, rules, triggers and comments.
    """

    oid: int
    name: str
    definition: str
    commands: list[str]


def find_column(connection: Connection, table: str, name: str) -> Column | None:
    """Read a column from the catalogs; None when there is no such table or column."""
    with connection.cursor(row_factory=class_row(Column)) as cursor:
        return cursor.execute(statement("widen_column"), {"table": table, "column": name}).fetchone()


def require_column(connection: Connection, table: str, name: str) -> Column:
    """Read a column from the catalogs.

    Raises:
        SchemaRefused: there is no such table or column.
    """
    column = find_column(connection, table, name)
    if column is None:
        raise SchemaRefused(f"there is no column {table}.{name}")
    return column


def find_views(connection: Connection, column: Column) -> list[View]:
    """Find the views that use a column, directly or through other views, in the order in which they can be made."""
    with connection.cursor(row_factory=class_row(View)) as cursor:
        return cursor.execute(
            statement("widen_views"), {"table_oid": column.table_oid, "number": column.number}
        ).fetchall()


def refuse_obstacles(connection: Connection, column: Column, views: Sequence[View], *, rebuilt: bool) -> None:
    """Refuse a column if something depends on it, or on its views, that could not be put back as it is.

    Args:
        connection: any.
        column: which.
        views: those that use it.
        rebuilt: whether its indexes are built anew; else PostgreSQL keeps them.

    Raises:
        SchemaRefused: names what it is.
    """
    values = {"table_oid": column.table_oid, "number": column.number}
    more = {"views": [view.oid for view in views], "rebuilt": rebuilt}
    obstacles = [row[0] for row in connection.execute(statement("widen_obstacles"), {**values, **more})]
    if obstacles:
        raise SchemaRefused(
            f"in the way, since it could not be put back as it is: {', '.join(obstacles)}; "
            "drop it, and make it again afterwards"
        )


@contextmanager
def no_vacuum(connection: Connection, table: str) -> Iterator[None]:
    """Begin a transaction, and wait until no vacuum works on the table; REGISTERs pass meanwhile.

    PostgreSQL cancels an autovacuum for a lock that was waited for as long as deadlock_timeout, a second. The few
    milliseconds for which a lock may be waited that keeps phones waiting would never do that.
    """
    with connection.transaction():
        connection.execute(statement("session_patience"))
        connection.execute(sql.SQL("lock table {} in share update exclusive mode").format(sql.Identifier(table)))
        connection.execute(statement("migrate_limits"))
        yield


def replace_column(
    connection: Connection,
    table: str,
    name: str,
    *,
    rebuilt: bool,
    change: Callable[[Column], sql.Composable],
) -> None:
    """Change a column in one transaction, which locks its table and takes its views away meanwhile.

    Args:
        connection: in autocommit mode, with a short lock_timeout.
        table: of usrloc's.
        name: of the column.
        rebuilt: whether its indexes are built anew; else PostgreSQL keeps them.
        change: returns the commands, given the column as it is once the table is locked. They must read no row.

    Raises:
        SchemaRefused: something could not be put back as it was; nothing was changed.
    """
    with no_vacuum(connection, table):
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(table)))
        column = require_column(connection, table, name)
        views = find_views(connection, column)
        refuse_obstacles(connection, column, views, rebuilt=rebuilt)
        script = sql.SQL("\n").join([_drop(views), change(column), _create(views)])
        # In one round trip, as a migration: the lock is held.
        connection.execute(script, prepare=False)
        made = find_views(connection, require_column(connection, table, name))
        if [(each.name, each.commands) for each in made] != [(each.name, each.commands) for each in views]:
            raise SchemaRefused(f"{table}.{name}: its views could not be put back as they were; nothing was changed")


def _drop(views: Sequence[View]) -> sql.Composable:
    names = ", ".join(view.name for view in reversed(views))
    return sql.SQL(f"drop view {names};" if names else "")


def _create(views: Sequence[View]) -> sql.Composable:
    definitions = [view.definition for view in views]
    commands = [f"{command};" for view in views for command in view.commands]
    return sql.SQL("\n".join([*definitions, *commands]))
