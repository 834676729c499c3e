"""Changes that an operator makes to a table of Kamailio's that has views of ours, such as an upgrade of its schema."""

from collections.abc import Callable

import psycopg
from psycopg import sql

from sql.connections.database import Connection, connect
from sql.connections.lock_waits import in_a_gap, lock_out_others
from sql.errors import SchemaRefused
from sql.kamailio_tables.views import drop_views, find_views, no_vacuum, refuse_obstacles, require_same, restore_views
from sql.schema.obstacles import refuse_unfit
from sql.schema.search_path import enter_schema, find_unfit_collations
from sql.settings import DatabaseSettings

ALTER_COMMAND = "registrations-db alter"
# Kamailio's tables on which there are views of ours.
VIEWED_TABLES = ("location", "location_attrs", "subscriber")


def alter(
    settings: DatabaseSettings,
    commands: str,
    *,
    table: str = "location",
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Execute commands while the table has no views, then make the views again as they were; all or nothing.

    Args:
        settings: which database.
        commands: SQL, such as ALTER TABLE; none that begins or ends a transaction, or cannot run in one.
        table: whose views are dropped meanwhile, and which is locked.
        report: called with a line when the table is in use.

    Raises:
        SchemaRefused: PostgreSQL refuses the commands, or a view cannot be made again, or a column got a collation
            with which the views do not work; nothing was changed.
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=ALTER_COMMAND, writes=True) as connection:
        lock_out_others(connection, report=report)
        refuse_unfit(connection)
        enter_schema(connection)
        in_a_gap(connection, lambda: _alter(connection, table, commands), name=ALTER_COMMAND, report=report)


def _alter(connection: Connection, table: str, commands: str) -> None:
    with no_vacuum(connection, table):
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(table)))
        row = connection.execute("select %s::regclass::oid", (table,)).fetchone()
        assert row is not None  # noqa: S101  # a SELECT without FROM has a row
        views = find_views(connection, row[0], None)
        refuse_obstacles(connection, row[0], None, views, rebuilt=False)
        connection.execute(drop_views(views), prepare=False)
        # EXECUTE refuses COMMIT, which would leave the database without its views.
        body = sql.SQL("begin execute {}; end").format(sql.Literal(commands)).as_string(connection)
        connection.execute(sql.SQL("do {}").format(sql.Literal(body)), prepare=False)
        for unfit in find_unfit_collations(connection, adopted=True):  # lists would fail, though the views can be made
            raise SchemaRefused(f"{unfit} (nothing was changed)")
        for view in views:
            try:
                connection.execute(sql.SQL(view.definition), prepare=False)
            except psycopg.ProgrammingError as error:
                raise SchemaRefused(
                    f"view {view.name} could not be made again, so nothing was changed: {error.diag.message_primary}"
                ) from error
        connection.execute(restore_views(views), prepare=False)
        require_same(views, find_views(connection, row[0], None))
