"""Widening a column of usrloc's tables beside a live proxy: a varchar to more characters, and id to bigint.

A wider varchar changes the catalogs only. ALTER TABLE to bigint would rewrite the table while every phone waits. So a
second column is filled and indexed beside id, and then replaces it.
"""

from collections.abc import Callable
from functools import partial
from time import sleep

from psycopg import sql

from sql.batch_size import WRITING_SECONDS, BatchSize
from sql.connections.database import Connection, connect
from sql.connections.lock_waits import LOCK_PAUSE_SECONDS, in_a_gap, lock_out_others
from sql.errors import SchemaRefused
from sql.kamailio_tables.expression_indexes import INDEXES_MADE_BY, expression_indexes, indexes_away, missing_indexes
from sql.kamailio_tables.indexes import Index, find_indexes
from sql.kamailio_tables.views import (
    Column,
    find_column,
    find_views,
    no_vacuum,
    refuse_obstacles,
    replace_column,
    require_column,
)
from sql.schema.obstacles import refuse_unfit
from sql.schema.record import missing_migrations
from sql.schema.search_path import enter_schema
from sql.schema.trial import FAILS, phones_still_register
from sql.settings import DatabaseSettings
from sql.statements import statement

WIDEN_COMMAND = "registrations-db widen"
TABLES = ("location", "location_attrs")
BATCH_ROWS = 200
# In how many passes neighbouring rows are written, see widen_fill.
TURNS = 8
LOWEST_ID = -(2**63)
HIGHEST_ID = 2**63 - 1
SHORT_LOCK = (
    "locks the table for some milliseconds, reading no row; waits 50 ms at the most for the lock, then tries again"
)
ROW_LOCKS = f"locks {BATCH_ROWS} rows at the most, for some milliseconds, and passes by those that others hold"
NO_LOCK = "no REGISTER waits"


def widen(
    settings: DatabaseSettings,
    column: str,
    width: int | None,
    *,
    table: str = "location",
    dry_run: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> bool:
    """Widen a column. If that was interrupted, the next call continues it.

    Args:
        settings: which database.
        column: `id`, or one of type varchar(n).
        width: characters of the latter.
        table: of usrloc's.
        dry_run: only report the steps.
        report: called with one line for each step, with what it locks, before it is taken.

    Returns:
        Whether there was anything to do.

    Raises:
        SchemaRefused: it would not be wider, or something that depends on it could not be made again as it is.
        DatabaseUnreachable: PostgreSQL is away.
    """
    with connect(settings, application_name=WIDEN_COMMAND, writes=True) as connection:
        lock_out_others(connection, report=report)
        refuse_unfit(connection)
        enter_schema(connection)
        found = require_column(connection, table, column)
        if column == "id":
            if width is not None:
                raise SchemaRefused("id is a number without a width: it becomes bigint")
            return _Id(connection, table, report, is_dry_run=dry_run).widen(found)
        return _widen_text(connection, table, column, width, found=found, report=report, is_dry_run=dry_run)


def _widen_text(
    connection: Connection,
    table: str,
    column: str,
    width: int | None,
    *,
    found: Column,
    report: Callable[[str], None],
    is_dry_run: bool,
) -> bool:
    if found.width is None:
        raise SchemaRefused(f"{table}.{column} is {found.type}: only id and columns of varchar(n) can be widened")
    if width is None:
        raise SchemaRefused(f"{table}.{column} has {found.width} characters: say how many it is to have")
    if width < found.width:
        raise SchemaRefused(f"{table}.{column} has {found.width} characters already, and is never made narrower")
    has_indexes = table == "location" and INDEXES_MADE_BY not in missing_migrations(connection)
    indexes = expression_indexes(column) if has_indexes else {}

    def step(text: str, take: Callable[[], None]) -> None:
        report(f"{text} ({NO_LOCK})")
        if not is_dry_run:
            in_a_gap(connection, take, name=text, report=report)

    if width == found.width:
        missing = missing_indexes(connection, indexes)
        with indexes_away(connection, missing, step=step):
            return bool(missing)
    views = find_views(connection, found.table_oid, found.number)
    refuse_obstacles(connection, found.table_oid, found.number, views, rebuilt=False, anew=list(indexes))
    command = sql.SQL("alter table {} alter column {} type varchar({});").format(
        sql.Identifier(table), sql.Identifier(column), sql.Literal(width)
    )
    name = f"{table}.{column} to {width} characters"
    with indexes_away(connection, indexes, step=step):
        report(f"{name} ({SHORT_LOCK})")
        if not is_dry_run:
            change = partial(replace_column, connection, table, column, rebuilt=False, change=lambda _: command)
            in_a_gap(connection, change, name=name, report=report)
    return True


class _Id:
    """The steps by which the id of one table becomes bigint. The catalogs tell which of them are done."""

    def __init__(self, connection: Connection, table: str, report: Callable[[str], None], *, is_dry_run: bool) -> None:
        self._connection = connection
        self._is_dry_run = is_dry_run
        self._table = table
        self._report = report
        # Trigger, function and constraint have one name.
        self._names = {"table": sql.Identifier(table), "name": sql.Identifier(f"{table}_id_wide")}

    def widen(self, column: Column) -> bool:
        """Take every step that is left; returns whether there were any."""
        if column.type == "bigint":
            if column.sequence is None or column.sequence_highest in (None, HIGHEST_ID):
                return False
            self._step("its sequence to bigint", NO_LOCK, lambda: self._execute(_widen_sequence(column)))
            return True
        self._require_serial(column)
        views = find_views(self._connection, column.table_oid, column.number)
        refuse_obstacles(self._connection, column.table_oid, column.number, views, rebuilt=True)
        if find_column(self._connection, self._table, "id_wide") is None:
            self._step("a second column for ids, which new rows fill", SHORT_LOCK, lambda: self._alter("widen_begin"))
        self._step("copying the ids of all rows, beside the running proxy", ROW_LOCKS, self._fill)
        self._step("a constraint that none is missing", SHORT_LOCK, lambda: self._alter("widen_filled"))
        self._step("checking it, beside the running proxy", NO_LOCK, self._validate)
        for index in find_indexes(self._connection, column):
            if not index.is_built:
                self._step(f"index {index.name} anew, beside the running proxy", NO_LOCK, partial(self._build, index))
        self._step("the second column takes the place of id", SHORT_LOCK, self._swap)
        return True

    def _require_serial(self, column: Column) -> None:
        """Refuse an id that is neither as kamdbctl makes it nor an identity column."""
        is_serial = column.type == "integer" and column.sequence is not None
        if not is_serial or not any(index.is_primary for index in find_indexes(self._connection, column)):
            raise SchemaRefused(
                f"{self._table}.id is not as kamdbctl makes it: an integer, the primary key, and by default the next "
                "value of a sequence"
            )

    def _step(self, name: str, lock: str, change: Callable[[], None]) -> None:
        self._report(f"{name} ({lock})")
        if not self._is_dry_run:
            in_a_gap(self._connection, change, name=name, report=self._report)

    def _composed(self, name: str, **more: sql.Composable) -> sql.Composed:
        return sql.SQL(statement(name)).format(**self._names, **more)

    def _execute(self, commands: sql.SQL | sql.Composed) -> None:
        self._connection.execute(commands, prepare=False)

    def _alter(self, name: str) -> None:
        with (
            no_vacuum(self._connection, self._table),
            phones_still_register(self._connection, f"{self._table}: {FAILS}"),
        ):
            self._execute(self._composed(name))

    def _fill(self) -> None:
        self._connection.execute(statement("session_patience"))
        query, pace, held = self._composed("widen_fill"), BatchSize(WRITING_SECONDS, most=BATCH_ROWS), 1
        while held:
            held = 0
            for turn in range(TURNS):
                after = LOWEST_ID
                while after is not None:
                    with pace.measured():
                        values = {"after": after, "turn": turn, "limit": pace.rows}
                        row = self._connection.execute(query, values).fetchone()
                    after, left = row or (None, 0)
                    held += left
            if held:
                sleep(LOCK_PAUSE_SECONDS)

    def _validate(self) -> None:
        self._connection.execute(statement("session_patience"))
        self._execute(sql.SQL("alter table {table} validate constraint {name}").format(**self._names))
        self._execute(sql.SQL("analyze {table} (id_wide)").format(**self._names))

    def _build(self, index: Index) -> None:
        self._connection.execute(statement("session_patience"))
        self._execute(sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(index.wide_name)))
        self._connection.execute("select set_config('default_tablespace', %s, false)", (index.tablespace,))
        self._execute(sql.SQL(index.build))

    def _swap(self) -> None:
        replace_column(self._connection, self._table, "id", rebuilt=True, change=self._swap_commands)

    def _swap_commands(self, column: Column) -> sql.Composable:
        self._require_serial(column)
        indexes = find_indexes(self._connection, column)
        late = [index.name for index in indexes if not index.is_built]
        if late:
            raise SchemaRefused(f"made meanwhile: index {', '.join(late)}; run the command again")
        kept = [*column.kept, *(command for index in indexes for command in index.kept)]
        sequence = sql.SQL(column.sequence or "")
        own_sequence = sql.SQL("alter sequence {sequence} owned by {table}.id_wide;")
        value, widen_sequence = sql.SQL(f"set default {column.default}"), sql.Composed([_widen_sequence(column)])
        if column.generated:
            # Dropped with the column, and made again with the value that it had.
            own_sequence = sql.SQL("alter table {table} alter column id drop identity;")
            options = f"sequence name {column.sequence} {column.sequence_options}"
            value = sql.SQL(f"add generated {column.generated} as identity ({options})")
            row = self._connection.execute(sql.SQL("select last_value, is_called from {}").format(sequence)).fetchone()
            assert row is not None  # noqa: S101  # a sequence has a row
            widen_sequence = sql.SQL("select setval({}, {}, {});").format(column.sequence, *row)
        return self._composed(
            "widen_swap",
            own_sequence=own_sequence.format(**self._names, sequence=sequence)
            if column.owns_sequence or column.generated
            else sql.SQL(""),
            value=value,
            indexes=sql.SQL("\n").join(map(self._take_place, indexes)),
            widen_sequence=widen_sequence,
            kept=sql.SQL("".join(f"{command};\n" for command in kept)),
        )

    def _take_place(self, index: Index) -> sql.Composed:
        command = (
            "alter table {table} add constraint {index} primary key using index {wide};"
            if index.is_primary
            else "alter index {wide} rename to {index};"
        )
        names = {"index": sql.Identifier(index.name), "wide": sql.Identifier(index.wide_name)}
        return sql.SQL(command).format(**self._names, **names)


def _widen_sequence(column: Column) -> sql.SQL:
    return sql.SQL(f"alter sequence {column.sequence} as bigint no maxvalue;" if column.sequence else "")
