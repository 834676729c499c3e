"""The commands of Kamailio's location table in memory: look up an AoR, remove its bindings (modules/usrloc, ul_rpc.c).

Owns their names and answers. The caller decides when to call them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kamailio.errors import RpcError, RpcProtocolError, UnnamedError
from kamailio.rpc import Call, JsonRpcClient

TABLE = "location"
# Answer to a name without "@" under use_domain=1: no binding can have such an AoR.
NO_DOMAIN = "Domain missing in AOR"
NOT_REGISTERED = frozenset({"AOR not found in location table", "AOR has no contacts", NO_DOMAIN})
OVER = frozenset({"expired", "deleted"})


@dataclass(frozen=True, slots=True)
class Contact:
    """What identifies a binding in a node's memory, and which REGISTER it is from.

    Attributes:
        address: the contact's URI as the phone sent it, without `<>`.
        ruid: Kamailio's key of the binding; opaque; a refresh keeps it.
        last_modified: epoch seconds; 0 for a binding that was added by RPC.
        call_id: of the last REGISTER.
        cseq: of the last REGISTER.
    """

    address: str
    ruid: str
    last_modified: int
    call_id: str
    cseq: int


def aor(username: str, domain: str | None) -> str:
    """Return how usrloc's commands name an AoR.

    Args:
        username: unescaped, as in the column of that name.
        domain: None under `use_domain=0`, where the AoR is the user part alone.
    """
    return username if domain is None else f"{username}@{domain}"


def keeps_domains(client: JsonRpcClient) -> bool:
    """Whether this node's usrloc has use_domain=1. If not, its commands cut an AoR at the first "@".

    Raises:
        KamailioUnreachable: no answer.
    """
    try:
        client.call("ul.lookup", TABLE, "nobody")
    except RpcError as error:
        return error.message == NO_DOMAIN
    return False


def rm_many(client: JsonRpcClient, addresses: Iterable[str], *, budget: float) -> list[RpcError | None]:
    """Remove every binding of many AoRs from this node's memory and from its rows, several at a time.

    Args:
        client: of one node.
        addresses: of record; see `aor`. Removing an unknown one is a success.
        budget: seconds for all of them.

    Returns:
        In the order of the addresses: None if the AoR is gone, otherwise the error. After an error memory is clean
        (modes 1 and 2), but rows may remain.

    Raises:
        KamailioUnreachable: the budget is used up. It does not tell which AoRs are gone.
    """
    results = client.call_many([Call("ul.rm", (TABLE, address)) for address in addresses], budget=budget)
    return [result if isinstance(result, RpcError) else None for result in results]


def lookup(client: JsonRpcClient, address: str) -> tuple[Contact, ...]:
    """Return the live bindings of an AoR; empty if it is not registered.

    In mode 3 Kamailio answers "not found" also while PostgreSQL is unreachable.

    Raises:
        RpcError: an error other than "not registered".
        RpcProtocolError: the result has an unexpected shape.
        KamailioUnreachable: no answer.
    """
    (found,) = lookup_many(client, [address], budget=client.timeout)
    if isinstance(found, RpcError):
        raise found
    return found


def lookup_many(
    client: JsonRpcClient, addresses: Iterable[str], *, budget: float
) -> list[tuple[Contact, ...] | RpcError]:
    """Return the live bindings of many AoRs, as `lookup` does, several at a time.

    Returns:
        In the order of the addresses: the bindings of each, or an error other than "not registered".

    Raises:
        RpcProtocolError: a result has an unexpected shape.
        KamailioUnreachable: the budget is used up.
    """
    results = client.call_many([Call("ul.lookup", (TABLE, address)) for address in addresses], budget=budget)
    return [_contacts(client, result) for result in results]


def _contacts(client: JsonRpcClient, result: object | RpcError) -> tuple[Contact, ...] | RpcError:
    if isinstance(result, RpcError):
        known = result.message in NOT_REGISTERED and not isinstance(result, UnnamedError)
        return () if known else result
    try:
        if not isinstance(result, dict):
            raise TypeError
        entries = [entry["Contact"] for entry in result["Contacts"]]
        return tuple(_contact(entry) for entry in entries if entry["Expires"] not in OVER)
    except (KeyError, TypeError) as error:
        raise RpcProtocolError(f"{client.url} answered ul.lookup in an unexpected form: {error!r}") from None


def _contact(entry: Mapping[str, object]) -> Contact:
    return Contact(
        address=str(entry["Address"]),
        ruid=str(entry["Ruid"]),
        last_modified=_int(entry["Last-Modified"]),
        call_id=str(entry["Call-ID"]),
        cseq=_int(entry["CSeq"]),
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a number")
    return value
