"""The read model: a registration, the number of them, and the conditions of a list."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, get_type_hints

from psycopg import sql

from sql.connections.database import Connection
from sql.statements import fetch_row, statement


class Registration(TypedDict):
    """One binding, with Crossbar's keys (public code: cb_registrations.erl, ecallmgr_registrar.erl).

    Times are Gregorian seconds, ``expires`` is seconds from ``event_timestamp``. An unknown text is ``""``, an unknown
    ``network_ip`` or ``network_port`` is ``"undefined"``. The keys that are not required are null in the view when they
    are not known: Kazoo's extras, and ``instance`` and ``reg_id``, which only this project has.
    """

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
    instance: NotRequired[str]
    last_registration: int
    network_ip: str
    network_port: str
    original_contact: str
    owner_id: str
    presence_id: NotRequired[str]
    proxy_ip: str
    proxy_path: NotRequired[str]
    proxy_port: str
    proxy_protocol: NotRequired[str]
    realm: str
    reg_id: NotRequired[int]
    register_overwrite_notify: bool
    registrar_hostname: NotRequired[str]
    registrar_node: NotRequired[str]
    source_ip: NotRequired[str]
    source_port: NotRequired[str]
    suppress_unregister_notify: bool
    to_host: str
    to_user: str
    user_agent: str
    username: str


TYPES = get_type_hints(Registration)
KEYS = frozenset(TYPES)
ORDERED_KEYS = tuple(sorted(KEYS))
NULLABLE_KEYS = tuple(sorted(Registration.__optional_keys__))
CELLS = len(ORDERED_KEYS)


class Listed(NamedTuple):
    """Some registrations as texts: for thousands an object each would take too long.

    Attributes:
        positions: the position of each in the order of lists.
        cells: CELLS texts for each registration, in the order of ORDERED_KEYS; booleans are ``true`` or ``false``. For
            NULLABLE_KEYS an empty text means null.
    """

    positions: list[int]
    cells: list[str]

    def first(self, count: int) -> "Listed":
        """The first ``count`` of them."""
        return Listed(self.positions[:count], self.cells[: count * CELLS])


Kind = Literal["filter", "filter_not", "has_key", "key_missing", "has_value", "missing_value", "at_least", "at_most"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition for registrations in a list.

    ``key`` is one of KEYS. ``value`` is a list of texts for filters, a time in Gregorian seconds for bounds.
    """

    kind: Kind
    key: str
    value: list[str] | int | None = None


# A value is compared as the text that JSON shows. A key is missing if its column is null, which compares as "". What
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


def where(conditions: Sequence[Condition], *, keys: Container[str] = KEYS) -> tuple[sql.Composed, dict[str, Any]]:
    """SQL for conditions on columns that have the names of the keys, and the values of its parameters.

    Returns:
        `` and ...`` for each condition, nothing if there is none; a value for each placeholder in it.

    Raises:
        ValueError: the key of a condition is none of these.
    """
    clauses, values = [], {}
    for number, condition in enumerate(conditions):
        if condition.key not in keys:
            raise ValueError(f"there is no key {condition.key!r}")
        name = f"value_{number}"
        values[name] = condition.value
        clauses.append(_CLAUSES[condition.kind].format(key=sql.Identifier(condition.key), value=sql.Placeholder(name)))
    return sql.SQL("").join(sql.SQL(" and ") + each for each in clauses), values


def count_registrations(connection: Connection, account_id: str | None = None) -> int:
    """Count the bindings of an account; None: all bindings, with and without an account.

    `sql.access.tokens.check_access` counts those of an account together with the check of a token.
    """
    which = "registrations_count_all" if account_id is None else "registrations_count_account"
    return int(fetch_row(connection, which, {"account_id": account_id})[0])


def list_registered_devices(connection: Connection, account_id: str) -> list[str]:
    """IDs of the account's devices that have a binding, each once, sorted."""
    return [row[0] for row in connection.execute(statement("registrations_devices"), {"account_id": account_id})]
