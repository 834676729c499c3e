"""Kamailio's location table as it stands in memory: look up an AoR, remove it.

Owns the names and shapes of usrloc's RPC commands (modules/usrloc, ul_rpc.c); decides nothing about when to call them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kamailio.errors import RpcError, RpcProtocolError, UnnamedError
from kamailio.rpc import Call, JsonRpcClient

TABLE = "location"
NOT_SET = "[not set]"
# The last one: under use_domain=1 no binding can have such an AoR.
NO_DOMAIN = "Domain missing in AOR"
NOT_REGISTERED = frozenset({"AOR not found in location table", "AOR has no contacts", NO_DOMAIN})
OVER = frozenset({"expired", "deleted"})


@dataclass(frozen=True, slots=True)
class Contact:
    """One binding, as a node of Kamailio holds it.

    Attributes:
        address: the contact's URI as the phone sent it, without `<>`.
        ruid: Kamailio's key of the binding; opaque, stays over refreshes.
        expires: seconds from now; None when permanent.
        last_modified: epoch seconds; 0 for a binding that was added by RPC.
        server_id: of the node that took the REGISTER.
        socket: of Kamailio, where it came in, such as `udp:192.0.2.1:5060`.
        received: URI of where it came from.
        connection_id: of TCP, TLS and WebSocket; -1 for UDP.
    """

    address: str
    ruid: str
    expires: int | None
    last_modified: int
    call_id: str
    cseq: int
    server_id: int
    connection_id: int
    user_agent: str | None
    received: str | None
    path: str | None
    socket: str | None
    instance: str | None


def aor(username: str, domain: str | None) -> str:
    """Return how usrloc's commands name an address of record.

    Args:
        username: unescaped, as in the column of that name.
        domain: None under `use_domain=0`, where the user part is all of it.
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


def rm(client: JsonRpcClient, address: str, *, table: str = TABLE) -> None:
    """Remove every binding of an AoR, from this node's memory and from its rows. Unknown to it is success.

    Raises:
        RpcError: the memory is clean (modes 1 and 2), but rows may have stayed.
        KamailioUnreachable: it may have happened all the same.
    """
    client.call("ul.rm", table, address)


def rm_contact(client: JsonRpcClient, address: str, contact: str, *, table: str = TABLE) -> None:
    """Remove one binding of an AoR; it needs usrloc's matching_mode 0.

    Args:
        client: of one node.
        address: of record; see `aor`.
        contact: its URI, every byte as in `Contact.address`.
        table: of usrloc.

    Raises:
        RpcError: 404 when it is not there; otherwise memory may be clean and the row have stayed.
        KamailioUnreachable: it may have happened all the same.
    """
    client.call("ul.rm_contact", table, address, contact)


def rm_many(
    client: JsonRpcClient, addresses: Iterable[str], *, budget: float, table: str = TABLE
) -> list[RpcError | None]:
    """Remove every binding of many AoRs, as `rm` does, several at a time.

    Args:
        client: of one node.
        addresses: of record; see `aor`.
        budget: seconds for all of them.
        table: of usrloc.

    Returns:
        In the order of the addresses: None for what is gone, else the error.

    Raises:
        KamailioUnreachable: the budget is used up; it says how many were answered, which of them is unknown.
    """
    results = client.call_many([Call("ul.rm", (table, address)) for address in addresses], budget=budget)
    return [result if isinstance(result, RpcError) else None for result in results]


def lookup(client: JsonRpcClient, address: str, *, table: str = TABLE) -> tuple[Contact, ...]:
    """Return the live bindings of an AoR; empty when it is not registered.

    In mode 3 Kamailio says "not found" also when PostgreSQL is away.

    Raises:
        RpcError: another failure than "not registered".
        RpcProtocolError: a result of another shape.
        KamailioUnreachable: no answer.
    """
    try:
        return _contacts(client, client.call("ul.lookup", table, address))
    except RpcError as error:
        return _contacts(client, error)


def lookup_many(
    client: JsonRpcClient, addresses: Iterable[str], *, budget: float, table: str = TABLE
) -> list[tuple[Contact, ...] | RpcError]:
    """Return the live bindings of many AoRs, as `lookup` does, several at a time.

    Args:
        client: of one node.
        addresses: of record; see `aor`.
        budget: seconds for all of them.
        table: of usrloc.

    Returns:
        In the order of the addresses, the bindings of each, or the error if it is another than "not registered".

    Raises:
        RpcProtocolError: a result of another shape.
        KamailioUnreachable: the budget is used up.
    """
    results = client.call_many([Call("ul.lookup", (table, address)) for address in addresses], budget=budget)
    return [
        result if isinstance(result, RpcError) and not _is_not_registered(result) else _contacts(client, result)
        for result in results
    ]


def _is_not_registered(error: RpcError) -> bool:
    return error.message in NOT_REGISTERED and not isinstance(error, UnnamedError)


def _contacts(client: JsonRpcClient, result: object | RpcError) -> tuple[Contact, ...]:
    if isinstance(result, RpcError):
        if _is_not_registered(result):
            return ()
        raise result
    try:
        if not isinstance(result, dict):
            raise TypeError
        entries = [entry["Contact"] for entry in result["Contacts"]]
        return tuple(_contact(entry) for entry in entries if entry["Expires"] not in OVER)
    except (KeyError, TypeError) as error:
        raise RpcProtocolError(f"{client.url} answered ul.lookup with another shape: {error!r}") from None


def _contact(entry: Mapping[str, object]) -> Contact:
    expires = entry["Expires"]
    return Contact(
        address=str(entry["Address"]),
        ruid=str(entry["Ruid"]),
        expires=None if expires == "permanent" else _int(expires),
        last_modified=_int(entry["Last-Modified"]),
        call_id=str(entry["Call-ID"]),
        cseq=_int(entry["CSeq"]),
        server_id=_int(entry["Server-Id"]),
        connection_id=_int(entry["Tcpconn-Id"]),
        user_agent=_text(entry["User-Agent"]),
        received=_text(entry["Received"]),
        path=_text(entry["Path"]),
        socket=_text(entry["Socket"]),
        instance=_text(entry["Instance"]),
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value


def _text(value: object) -> str | None:
    return None if value == NOT_SET else str(value)
