"""The next hop of a SIP URI, and the edges: hosts that the operator allows as the next hop of a NOTIFY.

A phone chooses its Contact and its Path, so it could make Kamailio send to any host. `kamailio.notify` addresses the
request.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

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
        return ANY_HOST in self.names or self.name(host)

    def name(self, host: str) -> bool:
        """Whether the setting lists this host itself; `*` does not count."""
        if host in self.names:
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
