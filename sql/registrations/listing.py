"""Lists of registrations from the view `registrations`, as fast as PostgreSQL can produce their texts."""

from collections.abc import Generator, Sequence
from contextlib import closing
from functools import cache
from operator import itemgetter
from typing import Any

from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from sql.connections.database import Connection
from sql.registrations.model import CELLS, NULLABLE_KEYS, ORDERED_KEYS, TYPES, Condition, Listed, where
from sql.statements import statement

# Rows in memory at a time. Two pages of this size fit into a socket: while one is used, the next is on its way.
PAGE_ROWS = 500
# Ids in memory at a time.
IDS_AT_A_TIME = 10 * PAGE_ROWS
# Between the texts of a row: ASCII's unit separator, which hardly any text contains.
SEPARATOR = "\x1f"
# No row of location has a higher id.
LAST_POSITION = 2**63 - 1


def list_registrations(
    connection: Connection,
    account_id: str,
    *,
    conditions: Sequence[Condition] = (),
    ascending: bool = False,
    start: int | None = None,
    limit: int | None = None,
) -> Generator[Listed, None, None]:
    """The registered bindings of one account, some at a time, in one snapshot and constant memory.

    Args:
        connection: lent until the generator is used up or closed.
        account_id: whose.
        conditions: all of them must hold.
        ascending: oldest binding first; otherwise newest first.
        start: the ``position`` of the first one.
        limit: maximum number.

    Raises:
        ValueError: a condition's key is none of KEYS.
    """
    if start is None:
        start = 0 if ascending else LAST_POSITION
    if limit is None:
        limit = LAST_POSITION
    if limit == 0:
        return
    clauses, values = where(conditions)
    pages = _pages(
        connection,
        _page_query(clauses) if conditions else _whole_page_query(),
        {**values, "account_id": account_id},
        ascending=ascending,
        start=start,
        limit=limit,
        # Without conditions, no more ids than the page has.
        most=IDS_AT_A_TIME if conditions else min(limit, IDS_AT_A_TIME),
    )
    with closing(pages):
        for page in pages:
            positions = [position for position, _ in page]
            cells = SEPARATOR.join([text for _, text in page]).split(SEPARATOR)
            if len(cells) != len(page) * CELLS:
                cells = [cell for row in page for cell in _cells(connection, *row)]
            yield Listed(positions, cells)


def _cells(connection: Connection, position: int, text: str) -> list[str]:
    """The cells of one row. If a text contains the separator, read the row column by column."""
    cells = text.split(SEPARATOR)
    if len(cells) == CELLS:
        return cells
    query = sql.SQL(statement("registrations_row")).format(values=_values())
    row = connection.execute(query, {"id": position}).fetchone()
    assert row is not None  # noqa: S101  # this snapshot has it
    return [str(cell) for cell in row]


def _pages(
    connection: Connection,
    query: bytes,
    values: dict[str, Any],
    *,
    ascending: bool,
    start: int,
    limit: int,
    most: int,
) -> Generator[list[TupleRow], None, None]:
    """Page by page in the order of an index, so that no statement takes long, however few rows meet the conditions.

    While a page is used, PostgreSQL works on the next one (libpq's pipeline mode).
    """
    pages = _bounds(connection, values["account_id"], ascending=ascending, start=start, most=most)
    with connection.pipeline(), connection.transaction():
        connection.execute(statement("list_snapshot"))
        connection.execute(statement("list_plan"))
        under_way: Cursor[TupleRow] | None = None
        try:
            for lowest, highest in pages:
                following = connection.execute(query, {**values, "lowest": lowest, "highest": highest}, prepare=True)
                if under_way:
                    rows = _in_order(under_way, ascending=ascending)[:limit]
                    limit -= len(rows)
                    yield rows
                    if not limit:
                        return
                under_way = following
            if under_way:
                yield _in_order(under_way, ascending=ascending)[:limit]
        except GeneratorExit:
            return  # the caller has enough, which is no failure: the transaction commits


def _in_order(page: Cursor[TupleRow], *, ascending: bool) -> list[TupleRow]:
    return sorted(page.fetchall(), key=itemgetter(0), reverse=not ascending)


def _bounds(
    connection: Connection, account_id: str, *, ascending: bool, start: int, most: int
) -> Generator[tuple[int, int], None, None]:
    """The lowest and the highest id on each page."""
    while True:
        values = {"account_id": account_id, "start": start, "limit": most}
        rows = connection.execute(_ids_query(ascending=ascending), values, prepare=True).fetchall()
        for at in range(0, len(rows), PAGE_ROWS):
            (first,), (last,) = rows[at], rows[min(at + PAGE_ROWS, len(rows)) - 1]
            yield (first, last) if ascending else (last, first)
        if len(rows) < most:
            return
        start = rows[-1][0] + (1 if ascending else -1)


@cache
def _ids_query(*, ascending: bool) -> bytes:
    direction, bound, other_bound = ("asc", ">=", "<=") if ascending else ("desc", "<=", ">=")
    query = sql.SQL(statement("registrations_ids")).format(
        direction=sql.SQL(direction), bound=sql.SQL(bound), other_bound=sql.SQL(other_bound)
    )
    return query.as_bytes()


def _page_query(clauses: sql.Composable) -> bytes:
    return sql.SQL(statement("registrations_page")).format(values=_values(), conditions=clauses).as_bytes()


@cache
def _whole_page_query() -> bytes:
    return _page_query(sql.SQL(""))


def _values() -> sql.Composed:
    return sql.SQL(", ").join(map(_as_text, ORDERED_KEYS))


def _as_text(key: str) -> sql.Composed:
    if TYPES[key] is bool:
        return sql.SQL("case when {} then 'true' else 'false' end").format(sql.Identifier(key))
    return sql.SQL("coalesce({}::text, '')" if key in NULLABLE_KEYS else "{}").format(sql.Identifier(key))
