"""Where a NOTIFY of ours may go: back to where the REGISTER came from, or through hosts that the operator names.

A phone chooses its Contact and its Path, and so could have Kamailio send to any host. Owns which hosts are known; how a
request is addressed is `kamailio.notify`'s.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

_NAME = re.compile(r"[0-9A-Za-z._-]+")
# One "@" at the most: of two, parsers differ over which ends the user.
_URI = re.compile(
    r"(?P<scheme>sips?):(?:[^@;?:]*(?::[^@;?]*)?@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[;?][^@]*)?",
    re.IGNORECASE,
)
_TRANSPORT = re.compile(r";\s*transport\s*=\s*([a-z]+)", re.IGNORECASE)
_OTHER_HOST = re.compile(r";\s*maddr\b", re.IGNORECASE)  # RFC 3261, 19.1.1: sent there instead
ANY_HOST = "*"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Hop:
    """What a SIP URI leads to: a host in lower case, without brackets, a port, and a transport such as `udp`."""

    host: str
    port: int
    transport: str


@dataclass(frozen=True, slots=True)
class Edges:
    """Hosts through which phones may be reached, although no REGISTER of theirs was seen to come from there."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the setting: addresses, networks and names, with commas between; `*` stands for every host.

        Raises:
            ValueError: a part is none of these.
        """
        networks: list[Network] = []
        names: set[str] = set()
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                networks.append(ipaddress.ip_network(part.strip("[]")))
            except ValueError as error:
                if part != ANY_HOST and (not _NAME.fullmatch(part) or re.fullmatch("[0-9.]+", part)):
                    raise ValueError(f"{part!r} is no address, network or name of a host: {error}") from None
                names.add(part.lower())
        return cls(tuple(networks), frozenset(names))

    def __contains__(self, host: str) -> bool:
        if ANY_HOST in self.names or host in self.names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def hop_of(uri: str) -> Hop | None:
    """Return what a URI leads to; None where that is not certain."""
    found = _URI.fullmatch(uri)
    rest = found["rest"] or "" if found else ""
    if found is None or _OTHER_HOST.search(rest):
        return None
    named = _TRANSPORT.search(rest)
    secure = found["scheme"].lower() == "sips"
    transport = named[1].lower() if named else "tls" if secure else "udp"
    port = int(found["port"] or (5061 if secure or transport == "tls" else 5060))
    return Hop(_spelled_once(found["host"]), port, transport)


def _spelled_once(host: str) -> str:
    if not host.startswith("["):
        return host.lower()
    try:
        return ipaddress.IPv6Address(host.strip("[]")).compressed  # Kamailio and an edge may write it differently
    except ValueError:
        return host.lower()


def source_of(received: str | None, first_of_path: str | None) -> Hop | None:
    """Return where the REGISTER came from; None where that is not known.

    Args:
        received: usrloc's column, which registrations.cfg has Kamailio fill with the request's source.
        first_of_path: the first URI of its Path. With registrar's path_use_received Kamailio takes `received` from its
            parameter of that name instead, and so from whoever wrote the Path.
    """
    if not received:
        return None
    path = _URI.fullmatch(first_of_path or "")
    if path and received.lower() in unquote(path["rest"] or "").lower():
        return None
    return hop_of(received)
