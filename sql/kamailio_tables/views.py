"""A column of Kamailio's tables, and the views that use it.

PostgreSQL refuses to change the type of a column that a view uses. So the transaction that changes the column drops its
views and makes them again, with everything that DROP loses.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from sql.connections.database import Connection
from sql.errors import SchemaRefused
from sql.schema.trial import FAILS, phones_still_register
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the catalogs have it.

    Attributes:
        width: characters of a varchar(n); None of any other type.
        default: an expression.
        sequence: the one that the default uses, or that of an identity column.
        sequence_highest: its highest number; None of one that counts down.
        sequence_options: the others, as ALTER TABLE wants them.
        generated: of an identity column: always, or by default.
        owns_sequence: whether dropping the column drops that sequence.
        kept: commands that restore its privileges, comment and statistics target.
    """

    table_oid: int
    number: int
    type: str
    width: int | None
    default: str | None
    sequence: str | None
    sequence_type: str | None
    sequence_highest: int | None
    sequence_options: str | None
    generated: str | None
    owns_sequence: bool
    kept: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view that uses a table.

    Attributes:
        definition: the command that makes it.
        commands: those that then restore its owner, privileges, defaults, rules, triggers and comments.
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


def find_views(connection: Connection, table_oid: int, number: int | None) -> list[View]:
    """Find the views that use a table, directly or through other views, in the order in which they can be made.

    Args:
        connection: any.
        table_oid: which table.
        number: those alone that use this column of it.
    """
    with connection.cursor(row_factory=class_row(View)) as cursor:
        return cursor.execute(statement("widen_views"), {"table_oid": table_oid, "number": number}).fetchall()


def refuse_obstacles(
    connection: Connection,
    table_oid: int,
    number: int | None,
    views: Sequence[View],
    *,
    rebuilt: bool,
    anew: Sequence[str] = (),
) -> None:
    """Refuse a change if something that depends on the column, or on the views, could not be made again as it is.

    Args:
        connection: any.
        table_oid: which table.
        number: of the column; None: any, and PostgreSQL itself refuses what depends on it.
        views: those that will be dropped.
        rebuilt: whether the column's indexes are built again; else PostgreSQL keeps them.
        anew: indexes that the caller builds again in any case.

    Raises:
        SchemaRefused: names it.
    """
    values = {"table_oid": table_oid, "number": number}
    more = {"views": [view.oid for view in views], "rebuilt": rebuilt, "anew": list(anew)}
    obstacles = [row[0] for row in connection.execute(statement("widen_obstacles"), {**values, **more})]
    if obstacles:
        raise SchemaRefused(
            f"in the way, since it could not be put back as it is: {', '.join(obstacles)}; "
            "drop it, and make it again afterwards"
        )


@contextmanager
def no_vacuum(connection: Connection, table: str) -> Iterator[None]:
    """Begin a transaction and wait until no vacuum works on the table; REGISTERs pass meanwhile.

    PostgreSQL cancels an autovacuum for a session that has waited for its lock for deadlock_timeout, a second. A lock
    that keeps phones waiting is waited for some milliseconds only, so it would never get there.
    """
    with connection.transaction():
        connection.execute(statement("session_patience"))
        connection.execute(sql.SQL("lock table {} in share update exclusive mode").format(sql.Identifier(table)))
        connection.execute(statement("lock_limits"))
        yield


def replace_column(
    connection: Connection,
    table: str,
    name: str,
    *,
    rebuilt: bool,
    change: Callable[[Column], sql.Composable],
) -> None:
    """Change a column in one transaction, which locks its table and drops its views meanwhile.

    Args:
        connection: in autocommit mode, with a short lock_timeout.
        table: of usrloc's.
        name: of the column.
        rebuilt: whether its indexes are built again; else PostgreSQL keeps them.
        change: returns the commands, given the column as it is while the table is locked. They must read no row.

    Raises:
        SchemaRefused: something could not be made again as it was; nothing was changed.
    """
    with no_vacuum(connection, table):
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(table)))
        column = require_column(connection, table, name)
        views = find_views(connection, column.table_oid, column.number)
        refuse_obstacles(connection, column.table_oid, column.number, views, rebuilt=rebuilt)
        definitions = sql.SQL("\n".join(view.definition for view in views))
        script = sql.SQL("\n").join([drop_views(views), change(column), definitions, restore_views(views)])
        with phones_still_register(connection, f"{table}.{name}: {FAILS}"):
            # In one round trip, since the table is locked.
            connection.execute(script, prepare=False)
        changed = require_column(connection, table, name)
        require_same(views, find_views(connection, changed.table_oid, changed.number))


def require_same(views: Sequence[View], made: Sequence[View]) -> None:
    """Compare the views that were dropped with those that were made again.

    Raises:
        SchemaRefused: names those that differ.
    """
    found = {each.name: each.commands for each in made}
    other = [each.name for each in views if found.get(each.name) != each.commands]
    if other:
        raise SchemaRefused(f"could not be put back as it was: view {', '.join(other)}; nothing was changed")


def drop_views(views: Sequence[View]) -> sql.SQL:
    """The command that drops them, or none."""
    names = ", ".join(view.name for view in reversed(views))
    return sql.SQL(f"drop view {names};" if names else "")


def restore_views(views: Sequence[View]) -> sql.SQL:
    """The commands that restore what views lost when they were dropped."""
    return sql.SQL("\n".join(f"{command};" for view in views for command in view.commands))
