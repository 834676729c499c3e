"""SIP NOTIFY to registered phones, by the RPC command of Kamailio's module tm. Nobody waits for the phone's answer.

Owns the route to a phone (Path, received, contact, source) and which texts are safe in the request. The caller decides
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

ANY = "."  # Kamailio chooses
NO_EDGES = Edges()
WEBSOCKETS = frozenset({"ws", "wss"})

# Phones choose these texts. A control character could end a header, a blank or a bracket could end the URI, and a
# backslash could hide the end of a quoted string. We refuse such a text and do not repair it. A ">" in a parameter of
# the next hop crashes Kamailio (signal 11, seen with 5.6.3).
_URI = re.compile(r"[^\x00-\x20\x7f<>]+")
_TEXT, _QUOTED = r'[^\x00-\x1f\x7f<>",]', r'"[^\x00-\x1f\x7f"\\]*"'
_ROUTE = rf"{_TEXT}*(?:{_QUOTED} *)?<({_URI.pattern})>(?:{_TEXT}|{_QUOTED})*"
_PATH = re.compile(rf"{_ROUTE}(?:,{_ROUTE})*")
_SOCKET = re.compile(r"([a-z]+):((?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):[0-9]+)")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+")
_USER_UNRESERVED = "-_.~*'()&=+$,;?/"  # RFC 3261, 25.1, without the "!" (see _route)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A binding that gets a NOTIFY, with the texts of usrloc's columns.

    Bytes that are not UTF-8 are surrogates, as in `kamailio.rpc`.

    Attributes:
        username: of the AoR, unescaped.
        domain: of the AoR; the realm if usrloc keeps no domain (use_domain=0).
        contact: the phone's own URI.
        received: URI to which calls go instead of the contact. The operator's configuration sets it, or the phone by
            the Contact parameter of that name.
        path: route through other proxies (RFC 3327).
        source: URI of the address that sent the REGISTER, as Kamailio saw it.
        socket: of Kamailio, which received the REGISTER. Another one may not pass the phone's NAT.
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

    Does not wait for the phones, so only Kamailio knows whether one answered.

    Args:
        client: of the node that has the bindings, and the sockets that received their REGISTERs.
        targets: each gets one NOTIFY.
        reboot: whether the phones restart, too.
        budget: seconds until Kamailio has accepted all of them.
        edges: hosts that a phone may be behind.

    Returns:
        In the order of the targets: None if it was sent, otherwise `UnsafeText`, `UnknownHost` or `RpcError`.

    Raises:
        KamailioUnreachable: the budget is used up. It does not tell which were sent.
        RpcError: Kamailio does not serve the command.
    """
    prepared = [_prepare(target, _event(reboot=reboot), edges) for target in targets]
    calls = [each for each in prepared if isinstance(each, Call)]
    results = iter(client.call_many(calls, budget=budget))
    return [each if isinstance(each, KamailioError) else _refusal(next(results)) for each in prepared]


def notify(target: Target, *, event: str, edges: Edges = NO_EDGES) -> Call:
    """Return the call that sends a NOTIFY outside any dialog or subscription. Kamailio answers it at once.

    Args:
        target: the binding.
        event: value of the header Event; trusted.
        edges: hosts that the phone may be behind.

    Raises:
        UnsafeText: a text of the target is not safe in the request.
        UnknownHost: the next hop is a host that only the phone has named.
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
        "Subscription-State: terminated",  # there is no subscription (RFC 6665, 4.1.3)
    ]
    # Every header ends in CRLF: Kamailio refuses a last header without it, and would send a bare LF unchanged.
    block = "".join(f"{header}\r\n" for header in headers)
    return Call("tm.t_uac_start", ("NOTIFY", contact, next_hop, target.socket or ANY, block))


def _next_hop(target: Target, edges: Edges) -> str:
    """Return the next hop: where calls go, if that is the source host of the REGISTER or one of the edges.

    Calls go to the first proxy of the Path, otherwise to `received`, otherwise to the contact: a phone may listen on
    another port than it sends from. If the contact is on another host, the phone may be behind NAT, and a WebSocket can
    only be opened by the phone. In both cases the next hop is the source.
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
    """Return arguments with which tm.t_uac_start sends nothing: our NOTIFY without a URI, which Kamailio refuses (400).

    registrations.cfg serves the command over HTTP only in the form of our NOTIFY.
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
    # tm.t_uac_start gives "!" in a header a meaning of its own: it replaces "!!", cuts off a header at one "!", and may
    # crash at two of them (signal 11, seen with 5.6.3; modules/tm, rpc_uac.c, get_hfblock). Escaped, the URI is the
    # same (RFC 3261, 19.1.4).
    return path.replace("!", "%21")
