"""A phone of the table at one proxy. Its sockets have names, and the ledger records what they hear."""

from __future__ import annotations

import re
from time import monotonic

from tests.adoption.ledger import Ledger
from tests.adoption.phones import PASSWORD, REALM, Kind
from tests.stand.listener import Listener
from tests.stand.phone import NoAnswer, Phone
from tests.stand.process import wait_until
from tests.stand.sip import Request, Response, escape_user, host_port
from tests.stand.sip_transport import Address

PATIENCE = 12.0
"""Timeout for a final response, in seconds: much longer than Kamailio's own (fr_timer, see features)."""


class Handset(Phone):
    """One phone. Close it after use."""

    def __init__(self, kind: Kind, *, port: int, ledger: Ledger) -> None:
        self.kind = kind
        self._ledger = ledger
        self._socket = f"{kind.name}"
        self._own = ledger.names.port(self._socket, kind.proxy) if kind.transport == "udp" else 0
        at = 0
        self._listener: Listener | None = None
        if kind.listens:
            at = ledger.names.port(f"{kind.name}, listening", kind.listens_at)
            self._listener = Listener(kind.listens, (kind.listens_at, at), self._hear_besides)
        self._fields = {
            "user": escape_user(kind.username),
            "own": host_port(kind.proxy, self._own),
            "at": host_port(kind.listens_at, at),
        }
        super().__init__(
            kind.username,
            REALM,
            PASSWORD,
            proxy=(kind.proxy, port),
            transport=kind.transport,
            contact=kind.contact.format_map(self._fields) or None,
            user_agent=kind.agent,
            expires=kind.expires,
            call_id=re.sub("[ ,']+", "-", kind.name),
            instance=kind.instance or None,
            extra_headers=[(name, value.format_map(self._fields)) for name, value in kind.headers],
            timeout=PATIENCE,
            on_exchange=self._note,
        )
        self.aor = kind.aor or self.aor
        self.from_uri = kind.sender or self.aor
        self.sent_by = kind.sent_by.format_map(self._fields) or None
        self.answers[kind.method] = kind.answer if kind.method == "MESSAGE" else self.answers[kind.method]
        self.local_address = self._choose_address
        self._statuses: list[str] = []
        self._lapses = 0.0
        if self.transport == "udp":
            self._connect()  # before another process takes the port

    def close(self) -> None:
        """Close every socket."""
        super().close()
        if self._listener is not None:
            self._listener.close()

    @property
    def called_at(self) -> str:
        """The URI for calls to it."""
        return self.kind.call.format_map(self._fields) or self.aor

    def enrol(self, step: str, *, leave: bool = False) -> None:
        """Register, refresh or un-register, and record the answers under `NAME/STEP/`."""
        self._statuses = []
        contacts: list[str] = []
        try:
            if not leave:
                response = self.register()
            elif self.kind.star:
                response = self.unregister_all()
            else:
                response = self.unregister()
            contacts = self._contacts_of(response)
        except NoAnswer:
            self._statuses.append("no answer")
        self._lapses = monotonic() + self.kind.expires + 1.5 if self.kind.expires < 10 else 0
        if self.kind.closes:
            super().close()
        self._ledger.write(f"{self.kind.name}/{step}/answer", ", ".join(self._statuses))
        self._ledger.write(f"{self.kind.name}/{step}/contacts", ", ".join(contacts) or "none")

    def wait_until_lapsed(self) -> None:
        """Wait until a short registration has expired. For other phones return at once."""
        wait_until(lambda: monotonic() >= self._lapses, 30, "a registration to end")

    def _contacts_of(self, response: Response) -> list[str]:
        """Return the bindings in a 200. Remaining seconds within a minute of those asked for are rounded up to them."""
        listed = response.headers.listed("Contact")
        return sorted(self._ledger.names.in_text(re.sub(r"(?<=;expires=)\d+", self._rounded, each)) for each in listed)

    def _rounded(self, seconds: re.Match[str]) -> str:
        asked = self.kind.expires
        return str(asked) if max(1, asked - 60) <= int(seconds[0]) <= asked else seconds[0]

    def _note(self, _: Request, response: Response) -> None:
        self._statuses.append(f"{response.status} {response.reason}")

    def _choose_address(self) -> Address:
        """Return the same address for UDP, and a new one for each connection of a stream."""
        port = self._own or self._ledger.names.port(self._socket, self.kind.proxy)
        return (self.kind.proxy, port)

    def _answer_to(self, request: Request) -> bytes:
        if request.method != "ACK":
            self._ledger.hear(f"[{self.kind.name}]", request)
        return super()._answer_to(request)

    def _hear_besides(self, request: Request) -> bytes:
        if request.method != "ACK":
            self._ledger.hear(f"[{self.kind.name}, listening]", request)
        return super()._answer_to(request)
