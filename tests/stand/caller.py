"""A user agent that calls a phone through the proxy: one MESSAGE or INVITE, with digest credentials if challenged."""

from __future__ import annotations

import secrets

from tests.stand.sip import Headers, Request, Response, escape_user, host_port
from tests.stand.sip_agent import TIMER_F, Agent
from tests.stand.sip_digest import credentials, usable_challenge
from tests.stand.sip_transport import Connection, TransportName


class Caller(Agent):
    """One user agent that is not registered.

    Args:
        username: user part of its own address, also the digest user.
        realm: domain of its own address.
        password: for the digest, in clear.
        proxy: host and port to send to; IPv6 without brackets.
        transport: `udp`, or `tcp`, which does not retransmit.
        timeout: seconds until `NoAnswer`, for one request and its final response.
    """

    def __init__(
        self,
        username: str,
        realm: str,
        password: str,
        *,
        proxy: tuple[str, int],
        transport: TransportName = "udp",
        timeout: float = TIMER_F,
    ) -> None:
        super().__init__(proxy=proxy, transport=transport, timeout=timeout)
        self._username, self._realm, self._password = username, realm, password

    def call(self, uri: str, *, method: str = "MESSAGE", call_id: str | None = None) -> list[Response]:
        """Call a URI and return the final responses. All but the last are challenges that were answered.

        Args:
            uri: Request-URI and To; may hold surrogates (PEP 383).
            method: MESSAGE or INVITE. A phone of the stand answers INVITE with 486.
            call_id: random when left out.

        Raises:
            NoAnswer: nobody answered in time.
        """
        dialog = call_id or secrets.token_hex(8)
        responses: list[Response] = []
        more: list[tuple[str, str]] = []
        for cseq in (1, 2):
            response = self._ask(method, uri, dialog, cseq, more)
            responses.append(response)
            challenge = usable_challenge(response) if response.status in {401, 407} else None
            if challenge is None:
                break
            name = "Proxy-Authorization" if response.status == 407 else "Authorization"
            user, password = self._username, self._password
            more = [(name, credentials(challenge, username=user, password=password, method=method, uri=uri, nc=1))]
        return responses

    def _ask(self, method: str, uri: str, dialog: str, cseq: int, more: list[tuple[str, str]]) -> Response:
        def build(connection: Connection) -> Request:
            branch = f"z9hG4bK{secrets.token_hex(12)}"
            me = f"sip:{escape_user(self._username)}@{self._realm}"
            headers = [
                ("Via", f"SIP/2.0/{self.transport.upper()} {host_port(*connection.local)};branch={branch};rport"),
                ("Max-Forwards", "70"),
                ("From", f"<{me}>;tag={self._tag}"),
                ("To", f"<{uri}>"),
                ("Call-ID", dialog),
                ("CSeq", f"{cseq} {method}"),
            ]
            if method == "INVITE":
                headers.append(("Contact", f"<{me.partition('@')[0]}@{host_port(*connection.local)}>"))
            return Request(method, uri, headers=Headers([*headers, *more]))

        request, response = self._transact(build, self.timeout)
        if method == "INVITE":
            self._acknowledge(request, response)
        return response

    def _acknowledge(self, request: Request, response: Response) -> None:
        """Send the ACK to a final response other than 2xx (RFC 3261 section 17.1.1.3)."""
        kept = [(name, request.headers[name]) for name in ("Via", "Max-Forwards", "From", "Call-ID")]
        number, _ = request.cseq
        headers = Headers([*kept, ("To", response.headers["To"]), ("CSeq", f"{number} ACK")])
        self._connect().send(Request("ACK", request.uri, headers=headers).encode())
