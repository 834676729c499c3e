"""The next hop of a SIP URI, and the edges: hosts that the operator allows as the next hop of a NOTIFY.

A phone chooses its Contact and its Path, so it could make Kamailio send to any host. `kamailio.notify` uses both.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

_NAME = re.compile(r"[0-9A-Za-z._-]+")
# At most one "@": parsers disagree on which of two ends the user part.
_URI = re.compile(
    r"(?P<scheme>sips?):(?:[^@;?:]*(?::[^@;?]*)?@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[;?][^@]*)?",
    re.IGNORECASE,
)
_TRANSPORT = re.compile(r";\s*transport\s*=\s*([a-z]+)", re.IGNORECASE)
_OTHER_HOST = re.compile(r";\s*maddr\b", re.IGNORECASE)  # RFC 3261, 19.1.1: the request goes there instead
ANY_HOST = "*"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a request to a SIP URI goes: host in lower case and without brackets, port, transport such as `udp`."""

    host: str
    port: int
    transport: str


@dataclass(frozen=True, slots=True)
class Edges:
    """Hosts to which a NOTIFY may go although the phone's REGISTER did not come from there."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the setting: addresses, networks and host names, separated by commas; `*` is every host.

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
                    raise ValueError(f"{part!r} is not an address, network or host name: {error}") from None
                names.add(part.lower())
        return cls(tuple(networks), frozenset(names))

    def __contains__(self, host: str) -> bool:
        return ANY_HOST in self.names or self.name(host)

    def name(self, host: str) -> bool:
        """Whether the setting lists this host; `*` does not count."""
        if host in self.names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def hop_of(uri: str) -> Hop | None:
    """Return where a request to a URI goes; None if that is not certain."""
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
        return ipaddress.IPv6Address(host.strip("[]")).compressed  # Kamailio and an edge may spell it differently
    except ValueError:
        return host.lower()
