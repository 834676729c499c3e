"""SIP NOTIFY to bindings of usrloc's, by the RPC command of Kamailio's module tm: sent, and no phone is waited for.

Owns the way to a phone (Path, received, contact, source) and which texts are safe in the request. The caller decides
when to send it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from kamailio.edges import ANY_HOST, Edges, hop_of
from kamailio.errors import NOT_SERVED, KamailioError, RpcError, UnknownHost, UnsafeText
from kamailio.rpc import Call, JsonRpcClient

ANY = "."  # Kamailio is to choose
NO_EDGES = Edges()
WEBSOCKETS = frozenset({"ws", "wss"})

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
        received: URI that calls go to instead of the contact. The operator's configuration sets it, or the phone by the
            Contact parameter of that name.
        path: the way back through other proxies (RFC 3327).
        source: URI of the address that sent the REGISTER, as Kamailio saw it.
        socket: of Kamailio, where the REGISTER came in; another one may not pass the phone's NAT.
    """

    username: str
    domain: str
    contact: str
    received: str | None = None
    path: str | None = None
    source: str | None = None
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
    for column, uri in (("received", target.received), ("source", target.source)):
        if uri:
            _safe(_URI, uri, column)
    headers = []
    if target.path:
        _safe(_PATH, target.path, "path")
        headers.append(f"Route: {_route(target.path)}")
    next_hop = _next_hop(target, edges)
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


def _next_hop(target: Target, edges: Edges) -> str:
    """Return the next hop: the one that calls take, if it is the REGISTER's source host or one of the edges.

    Calls go to the first proxy of the Path, else to `received`, else to the contact, because a phone may listen on
    another port than it sends from. If the contact is on another host, the phone may be behind NAT. A WebSocket only
    the phone can open. In both cases the next hop is the source.
    """
    source = hop_of(target.source) if target.source else None

    def known(column: str, uri: str) -> str:
        hop = hop_of(uri)
        if hop is None or (hop.host not in edges and (source is None or hop.host != source.host)):
            raise UnknownHost(column, uri, source=target.source)
        return uri

    if target.path:
        first, *_ = [known("path", route[1]) for route in re.finditer(_ROUTE, target.path)]
        return first
    if target.received:
        return known("received", target.received)
    hop = hop_of(target.contact)
    if source is None or (
        hop and hop.transport not in WEBSOCKETS and (hop.host == source.host or edges.name(hop.host))
    ):
        known("contact", target.contact)
        return ANY
    return str(target.source)


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
