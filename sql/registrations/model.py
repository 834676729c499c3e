"""The read model: what a registration is, how many there are, and what a list of them can be asked for."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, NotRequired, TypedDict, get_type_hints

from psycopg import sql

from sql.connections.database import Connection
from sql.statements import statement


class Registration(TypedDict):
    """One binding, with Crossbar's keys (public code: cb_registrations.erl, ecallmgr_registrar.erl).

    Times are Gregorian seconds, ``expires`` is seconds from ``event_timestamp``. Text that is not known is ``""``,
    for ``network_ip`` and ``network_port`` ``"undefined"``; what is not required are Kazoo's extras, null in the view.
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
    """Some registrations as text; whoever lists thousands has no time for an object each.

    Attributes:
        positions: where each stands in the order of lists.
        cells: CELLS of each, one registration after the other: for each of ORDERED_KEYS its text, ``true`` or
            ``false`` for booleans. Empty for one of NULLABLE_KEYS that is null; no other text of these is empty.
    """

    positions: list[int]
    cells: list[str]

    def first(self, count: int) -> "Listed":
        """The first so many of them."""
        return Listed(self.positions[:count], self.cells[: count * CELLS])


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


def clause(condition: Condition, parameter: str) -> sql.Composed:
    """SQL for a condition on the view's columns; its value is the parameter of that name.

    Raises:
        ValueError: the condition's key is none of KEYS.
    """
    if condition.key not in KEYS:
        raise ValueError(f"registrations have no {condition.key!r}")
    return _CLAUSES[condition.kind].format(key=sql.Identifier(condition.key), value=sql.Placeholder(parameter))


def count_registrations(connection: Connection) -> int:
    """Count all bindings, with and without an account; `sql.access.tokens.check_access` counts those of one account."""
    row = connection.execute(statement("registrations_count_all")).fetchone()
    return row[0] if row else 0


def list_registered_devices(connection: Connection, account_id: str) -> list[str]:
    """IDs of the account's devices that have a binding, each once, in the order of the text."""
    return [row[0] for row in connection.execute(statement("registrations_devices"), {"account_id": account_id})]
