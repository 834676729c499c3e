"""Records what one run showed, with names in place of ports and IDs that differ from run to run."""

from __future__ import annotations

import re
import threading
from collections import defaultdict

from tests.stand.process import free_port
from tests.stand.sip import Request

PORT = re.compile(r"\b\d{4,5}\b")


class Names:
    """Names for ports, by socket, and for ruids, by their order."""

    def __init__(self) -> None:
        self._ports: dict[str, str] = {}
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._ruids: dict[str, str] = {}
        self._lock = threading.Lock()

    def port(self, name: str, host: str = "127.0.0.1") -> int:
        """Return a free port and give it this name. The second port of a name is called `NAME 2`."""
        port = free_port(host)
        self.give(port, name)
        return port

    def give(self, port: int, name: str) -> None:
        """Give a port a name."""
        with self._lock:
            self._taken[name] += 1
            number = self._taken[name]
            self._ports[str(port)] = f"[{name}]" if number == 1 else f"[{name} {number}]"

    def ruid(self, ruid: str, owner: str) -> str:
        """Return the name of a row: its user, and its number among the rows of that user."""
        if ruid not in self._ruids:
            self._taken[f"ruid {owner}"] += 1
            self._ruids[ruid] = f"#{self._taken[f'ruid {owner}']}"
        return self._ruids[ruid]

    def in_text(self, text: str) -> str:
        """Return text with names in place of ports, and with escapes for bytes that are not UTF-8."""
        with self._lock:
            named = PORT.sub(lambda found: self._ports.get(found[0], found[0]), text)
        return named.encode("utf-8", "backslashreplace").decode()


class Ledger:
    """The sockets that heard each call, and everything else that is compared.

    Attributes:
        lines: the observations, by key: `PHONE/STEP/WHAT`, `rows of USER/STEP`, `kamailio/...`.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.lines: dict[str, str] = {}
        self._calls: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._lock = threading.Lock()

    def write(self, key: str, value: str) -> None:
        """Record an observation."""
        with self._lock:
            self.lines[key] = self.names.in_text(value)

    def hear(self, where: str, request: Request) -> None:
        """Record that a request arrived at a socket of this name. A retransmission changes nothing."""
        routes = "".join(f", Route {each}" for each in request.headers.all("Route"))
        text = self.names.in_text(f"{where} heard {request.method} {request.uri}{routes}")
        with self._lock:
            self._calls[request.headers["Call-ID"]][request.branch] = text

    def heard(self, call_id: str) -> str:
        """Return the sockets that heard this call, on one line."""
        with self._lock:
            return "; ".join(sorted(self._calls[call_id].values())) or "nobody heard it"
