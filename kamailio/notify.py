"""SIP NOTIFY to bindings of usrloc's, by the RPC command of Kamailio's module tm: sent, and no phone is waited for.

Owns the way to a contact (Path, received, socket) and what may stand in the request; decides nothing about when.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from kamailio.edges import ANY_HOST, Edges, hop_of, source_of
from kamailio.errors import KamailioError, RpcError, UnknownHost, UnsafeText
from kamailio.rpc import Call, JsonRpcClient

ANY = "."  # Kamailio is to choose
NO_EDGES = Edges()
# In the words of jsonrpcs, and of registrations.cfg.
NOT_SERVED = frozenset({"Method Not Found", "Method Not Allowed", "Forbidden"})

# Phones choose these texts: a control character could end a header, a blank or a bracket the URI, and a
# backslash in quotes hide where they end. Nothing is repaired. A ">" in the parameter of a next hop ends Kamailio by
# signal 11, as seen with 5.6.3.
_URI = re.compile(r"[^\x00-\x20\x7f<>]+")
_TEXT, _QUOTED = r'[^\x00-\x1f\x7f<>",]', r'"[^\x00-\x1f\x7f"\\]*"'
_ROUTE = rf"{_TEXT}*(?:{_QUOTED} *)?<({_URI.pattern})>(?:{_TEXT}|{_QUOTED})*"
_PATH = re.compile(rf"{_ROUTE}(?:,{_ROUTE})*")
_SOCKET = re.compile(r"([a-z]+):((?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):[0-9]+)")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+")
_USER_UNRESERVED = "-_.~*'()&=+$,;?/"  # RFC 3261, 25.1, without the "!" (see _route)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A binding that is to have a NOTIFY; each text as Kamailio has it in the column of that name.

    Bytes that are no UTF-8 are surrogates, as in `kamailio.rpc`.

    Attributes:
        username: of the AoR, unescaped.
        domain: of the AoR; the realm, where usrloc keeps none (use_domain=0).
        contact: the URI that the phone is known by to itself.
        received: URI of where its REGISTER came from.
        path: the way back through other proxies (RFC 3327).
        source_is_named: whether the request itself named what is in ``received``.
        socket: of Kamailio, where the REGISTER came in; another one may not pass the phone's NAT.
    """

    username: str
    domain: str
    contact: str
    received: str | None = None
    path: str | None = None
    source_is_named: bool = False
    socket: str | None = None


def check_sync(
    client: JsonRpcClient, targets: Iterable[Target], *, reboot: bool, budget: float, edges: Edges = NO_EDGES
) -> list[KamailioError | None]:
    """Ask phones to fetch their configuration again: NOTIFY with the event check-sync, several at a time.

    No phone's answer is waited for; whether there was one only Kamailio knows.

    Args:
        client: of the node that has the bindings, and so the sockets that they came in by.
        targets: each is sent one NOTIFY.
        reboot: whether the phones are to start anew, too.
        budget: seconds until Kamailio has taken all of them.
        edges: hosts that a phone may be behind.

    Returns:
        In the order of the targets: None for what was sent; for what was not `UnsafeText`, `UnknownHost` or `RpcError`.

    Raises:
        KamailioUnreachable: the budget is used up; it says how many were taken, which of them is unknown.
        RpcError: Kamailio serves us no such command.
    """
    prepared = [_prepare(target, _event(reboot=reboot), edges) for target in targets]
    calls = [each for each in prepared if isinstance(each, Call)]
    results = iter(client.call_many(calls, budget=budget))
    return [each if isinstance(each, KamailioError) else _refusal(next(results)) for each in prepared]


def notify(target: Target, *, event: str, edges: Edges = NO_EDGES) -> Call:
    """The call that sends a NOTIFY outside any dialog or subscription, and returns at once.

    Args:
        target: whom to.
        event: value of the header Event; trusted.
        edges: hosts that the phone may be behind.

    Raises:
        UnsafeText: something in the target cannot stand where it would have to.
        UnknownHost: the way leads to a host that only the phone vouches for.
    """
    contact = _safe(_URI, target.contact, "contact")[0]
    next_hop = _safe(_URI, target.received, "received")[0] if target.received else ANY
    headers = []
    if target.path:
        next_hop = _safe(_PATH, target.path, "path")[1]
        headers.append(f"Route: {_route(target.path)}")
    _refuse_unknown_hosts(target, edges)
    domain = _safe(_HOST, target.domain, "domain")[0]
    aor = f"<sip:{quote(target.username, safe=_USER_UNRESERVED, errors='surrogateescape')}@{domain}>"
    us = domain
    if target.socket:
        protocol, us = _safe(_SOCKET, target.socket, "socket").groups()
        us += "" if protocol == "udp" else f";transport={protocol}"
    headers += [
        f"From: {aor}",
        f"To: {aor}",
        f"Contact: <sip:{us}>",
        f"Event: {event}",
        "Subscription-State: terminated",  # there is no subscription that it could be one of (RFC 6665, 4.1.3)
    ]
    # Every header ends in CRLF: Kamailio refuses a last one without, and would send a bare LF as it is.
    block = "".join(f"{header}\r\n" for header in headers)
    return Call("tm.t_uac_start", ("NOTIFY", contact, next_hop, target.socket or ANY, block))


def _refuse_unknown_hosts(target: Target, edges: Edges) -> None:
    """Each proxy of a Path, or else the next hop, is where the REGISTER came from, or an edge of the operator's."""
    path = [route[1] for route in re.finditer(_ROUTE, target.path or "")]
    source = None if target.source_is_named else source_of(target.received, path[0] if path else None)
    if path:
        column, uris = "path", path
    else:
        column, uris = ("received", [target.received]) if target.received else ("contact", [target.contact])
    for uri in uris:
        hop = hop_of(uri)
        if hop is None or (hop != source and hop.host not in edges):
            raise UnknownHost(column, uri)


def probe() -> tuple[str, ...]:
    """Arguments with which tm.t_uac_start sends nothing: a NOTIFY as ours, to no URI, which Kamailio answers with 400.

    registrations.cfg serves the command over HTTP in this form alone.
    """
    nobody = Target(username="nobody", domain="registrations.invalid", contact="sip:registrations.invalid")
    method, _, *others = notify(nobody, event=_event(reboot=False), edges=Edges.parse(ANY_HOST)).params
    return (str(method), "", *map(str, others))


def _event(*, reboot: bool) -> str:
    return f"check-sync;reboot={'true' if reboot else 'false'}"


def _prepare(target: Target, event: str, edges: Edges) -> Call | KamailioError:
    try:
        return notify(target, event=event, edges=edges)
    except (UnsafeText, UnknownHost) as error:
        return error


def _refusal(result: object | RpcError) -> RpcError | None:
    if not isinstance(result, RpcError):
        return None
    if result.message in NOT_SERVED:
        raise result
    return result


def _safe(pattern: re.Pattern[str], text: str, column: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise UnsafeText(column, text)
    return match


def _route(path: str) -> str:
    # tm.t_uac_start takes "!" in a header for a mark of its own: it replaces "!!", cuts off a header with one "!", and
    # with two of them it may end Kamailio by signal 11, as seen with 5.6.3 (modules/tm, rpc_uac.c, get_hfblock).
    # Escaped, the URI means the same (RFC 3261, 19.1.4).
    return path.replace("!", "%21")
