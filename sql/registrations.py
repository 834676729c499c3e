"""The read model: the registrations of an account, from the view `registrations`."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from psycopg import sql
from psycopg.rows import class_row

from sql.connections import Connection
from sql.statements import statement

# Rows that are in memory at a time.
PAGE_ROWS = 1000
# No row of location has a higher id.
LAST_POSITION = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One binding, with Crossbar's keys (public code: cb_registrations.erl, ecallmgr_registrar.erl).

    Times are Gregorian seconds, ``expires`` is seconds from ``event_timestamp``. Text that is not known is ``""``,
    for ``network_ip`` and ``network_port`` ``"undefined"``; the fields that may be None are Kazoo's extras.
    ``position`` is none of Crossbar's keys: where the binding stands in the order of lists.
    """

    position: int
    account_name: str
    account_realm: str
    authorizing_id: str
    authorizing_type: str
    call_id: str
    contact: str
    contact_ip: str
    contact_port: str
    event_timestamp: int
    expires: int
    first_registration: bool
    from_host: str
    from_user: str
    initial_registration: int
    last_registration: int
    network_ip: str
    network_port: str
    original_contact: str
    owner_id: str
    presence_id: str | None
    proxy_ip: str
    proxy_path: str | None
    proxy_port: str
    proxy_protocol: str | None
    realm: str
    register_overwrite_notify: bool
    registrar_hostname: str | None
    registrar_node: str | None
    source_ip: str | None
    source_port: str | None
    suppress_unregister_notify: bool
    to_host: str
    to_user: str
    user_agent: str
    username: str


KEYS = frozenset(field.name for field in fields(Registration)) - {"position"}

Kind = Literal["filter", "filter_not", "has_key", "key_missing", "has_value", "missing_value", "at_least", "at_most"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a registration must fulfil to be listed.

    ``key`` is one of KEYS; ``value`` is what it is compared with: the texts of which it is, or is not, one for filters,
    a time in Gregorian seconds for bounds.
    """

    kind: Kind
    key: str
    value: list[str] | int | None = None


# A value is compared as the text that JSON shows; a key is missing where its column is null, and compares as "". What
# counts as empty is Kazoo's rule (public code: crossbar_filter.erl, kz_term:is_empty).
_CLAUSES: dict[Kind, sql.SQL] = {
    "filter": sql.SQL("coalesce({key}::text, '') = any ({value}::text[])"),
    "filter_not": sql.SQL("coalesce({key}::text, '') <> all ({value}::text[])"),
    "has_key": sql.SQL("{key} is not null"),
    "key_missing": sql.SQL("{key} is null"),
    "has_value": sql.SQL("coalesce({key}::text, '') not in ('', '0', 'NULL', 'undefined')"),
    "missing_value": sql.SQL("coalesce({key}::text, '') in ('', '0', 'NULL', 'undefined')"),
    "at_least": sql.SQL("{key} >= {value}"),
    "at_most": sql.SQL("{key} <= {value}"),
}


def _clause(condition: Condition, parameter: str) -> sql.Composed:
    if condition.key not in KEYS:
        raise ValueError(f"registrations have no {condition.key!r}")
    return _CLAUSES[condition.kind].format(key=sql.Identifier(condition.key), value=sql.Placeholder(parameter))


def list_registrations(
    connection: Connection,
    account_id: str,
    *,
    conditions: Sequence[Condition] = (),
    ascending: bool = False,
    start: int | None = None,
    limit: int | None = None,
) -> Generator[Registration, None, None]:
    """The bindings of one account that are registered now, as of one moment; memory does not grow with them.

    Args:
        connection: lent until the generator is used up or closed.
        account_id: whose.
        conditions: all of them must hold.
        ascending: oldest binding first; newest first otherwise.
        start: the ``position`` to begin at, that one included.
        limit: how many at the most.

    Raises:
        ValueError: a condition's key is none of KEYS.
    """
    if start is None:
        start = 0 if ascending else LAST_POSITION
    with connection.transaction():
        connection.execute(statement("list_snapshot"))
        if conditions:
            query, values = _query(account_id, conditions, ascending=ascending, start=start, limit=limit)
            with connection.cursor(name="registrations", row_factory=class_row(Registration)) as cursor:
                cursor.itersize = PAGE_ROWS
                yield from cursor.execute(query, values)
        else:
            yield from _pages(connection, account_id, ascending=ascending, start=start, limit=limit)


def _pages(
    connection: Connection, account_id: str, *, ascending: bool, start: int, limit: int | None
) -> Generator[Registration, None, None]:
    """A list without conditions, page by page in the order of an index: no statement of it takes long."""
    left = LAST_POSITION if limit is None else limit
    with connection.cursor(row_factory=class_row(Registration)) as cursor:
        while left > 0:
            size = min(left, PAGE_ROWS)
            query, values = _query(account_id, (), ascending=ascending, start=start, limit=size)
            page = cursor.execute(query, values).fetchall()
            yield from page
            if len(page) < size:
                return
            left -= size
            start = page[-1].position + (1 if ascending else -1)


def _query(
    account_id: str, conditions: Sequence[Condition], *, ascending: bool, start: int, limit: int | None
) -> tuple[sql.Composed, dict[str, str | list[str] | int | None]]:
    direction, bound = (sql.SQL("asc"), sql.SQL(">=")) if ascending else (sql.SQL("desc"), sql.SQL("<="))
    values = {f"value_{number}": condition.value for number, condition in enumerate(conditions)}
    clauses = [_clause(condition, name) for condition, name in zip(conditions, values, strict=True)]
    if conditions:
        clauses.append(sql.SQL("id {bound} %(start)s").format(bound=bound))
    else:
        page = sql.SQL(statement("registrations_page")).format(direction=direction, bound=bound)
        clauses.append(sql.SQL("id = any (array({page}))").format(page=page))
    query = sql.SQL(statement("registrations_list")).format(
        conditions=sql.SQL(" and ").join(clauses), direction=direction
    )
    return query, {**values, "account_id": account_id, "start": start, "limit": limit}


def count_registrations(connection: Connection, account_id: str | None) -> int:
    """How many bindings :func:`list_registrations` gives; None: how many there are of all accounts and of none."""
    if account_id is None:
        row = connection.execute(statement("registrations_count_all")).fetchone()
    else:
        row = connection.execute(statement("registrations_count"), {"account_id": account_id}).fetchone()
    return row[0] if row else 0


def list_registered_devices(connection: Connection, account_id: str) -> list[str]:
    """IDs of the account's devices that have a binding, each once, in the order of the text."""
    return [row[0] for row in connection.execute(statement("registrations_devices"), {"account_id": account_id})]
