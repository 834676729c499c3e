"""What one run has heard and said, in names instead of numbers that another run does not have."""

from __future__ import annotations

import re
import threading
from collections import defaultdict

from tests.stand.process import free_port
from tests.stand.sip import Request

PORT = re.compile(r"\b\d{4,5}\b")


class Names:
    """Ports by the socket that has them, ruids by their order."""

    def __init__(self) -> None:
        self._ports: dict[str, str] = {}
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._ruids: dict[str, str] = {}
        self._lock = threading.Lock()

    def port(self, name: str, host: str = "127.0.0.1") -> int:
        """Return a free port that has this name from now on; the second one of a name is `NAME 2`."""
        port = free_port(host)
        self.give(port, name)
        return port

    def give(self, port: int, name: str) -> None:
        """Name a port."""
        with self._lock:
            self._taken[name] += 1
            number = self._taken[name]
            self._ports[str(port)] = f"[{name}]" if number == 1 else f"[{name} {number}]"

    def ruid(self, ruid: str, owner: str) -> str:
        """Return the name of a row: whose it is, and which of them."""
        if ruid not in self._ruids:
            self._taken[f"ruid {owner}"] += 1
            self._ruids[ruid] = f"#{self._taken[f'ruid {owner}']}"
        return self._ruids[ruid]

    def in_text(self, text: str) -> str:
        """Return text with names for ports, and with escapes for bytes that are not UTF-8."""
        with self._lock:
            named = PORT.sub(lambda found: self._ports.get(found[0], found[0]), text)
        return named.encode("utf-8", "backslashreplace").decode()


class Ledger:
    """Which socket heard which call, and everything else that is compared.

    Attributes:
        lines: what was seen, by what was looked at: `PHONE/STEP/WHAT`, `rows of USER/STEP`, `kamailio/...`.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.lines: dict[str, str] = {}
        self._calls: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._lock = threading.Lock()

    def write(self, key: str, value: str) -> None:
        """Note what was seen."""
        with self._lock:
            self.lines[key] = self.names.in_text(value)

    def hear(self, where: str, request: Request) -> None:
        """Note that a request arrived at a socket of this name; again is the same."""
        routes = "".join(f", Route {each}" for each in request.headers.all("Route"))
        text = self.names.in_text(f"{where} heard {request.method} {request.uri}{routes}")
        with self._lock:
            self._calls[request.headers["Call-ID"]][request.branch] = text

    def heard(self, call_id: str) -> str:
        """Return who heard that call, all on one line."""
        with self._lock:
            return "; ".join(sorted(self._calls[call_id].values())) or "nobody heard it"
