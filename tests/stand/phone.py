"""A simulated SIP phone that registers. As a command it runs one phone to try things by hand (`--help`).

It can only register: no media, no calls, no TLS.
"""

import secrets
import signal
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from queue import SimpleQueue

import click

from tests.stand.fleet import Fleet, keep_registered
from tests.stand.sip import Headers, Request, Response, escape_user, host_port, parse_address
from tests.stand.sip_agent import TIMER_F, Agent, NoAnswer
from tests.stand.sip_digest import credentials, usable_challenge
from tests.stand.sip_transport import Connection, TransportName

__all__ = ["Fleet", "NoAnswer", "Phone", "Request", "Response", "keep_registered"]

PATIENCE = 8.0
"""Seconds that the command waits for a response. TIMER_F would be too long for a person."""


class Phone(Agent):
    """One SIP user agent with one contact, its own or any that it is given.

    Args:
        username: user part of the AoR, unescaped; also the digest user unless `auth_username` says otherwise.
        realm: domain of the AoR and of the Request-URI; the digest realm is the challenge's.
        password: for the digest, in clear.
        proxy: host and port to send to; IPv6 without brackets.
        transport: `udp`, `tcp` or `ws`.
        contact: URI to register, or a complete Contact value with `<>`. Default: the socket's real address, which
            changes with a reconnect; for `ws` a random `.invalid` host, which does not (RFC 7118 section 5).
        expires: seconds that `register()` asks for; None sends no Expires.
        from_uri: From of a third-party REGISTER (RFC 3261 section 10.2), or a complete value with `<>`; else the AoR.
        call_id: never changes (RFC 3261 section 10.2); random by default.
        instance: URN for `+sip.instance`, sent with `reg-id=1` and `Supported: path, outbound` (RFC 5626).
        extra_headers: added unchanged to each REGISTER.
        timeout: seconds until `NoAnswer`, for one request and its response.
        on_exchange: called with each REGISTER and its final response, challenges included.

    Headers and URIs may hold surrogates (PEP 383) to send bytes that are not UTF-8. Attributes that change:
    `cseq` (the last one sent), `granted` (seconds, of the last success), `registered` (whether the last exchange left
    a binding), `sent_by` (Via shows this in place of the socket's real address). For `received`, `answers` and
    `strays` see Agent. Closing does not un-register.
    """

    def __init__(
        self,
        username: str,
        realm: str,
        password: str,
        *,
        proxy: tuple[str, int],
        transport: TransportName = "udp",
        contact: str | None = None,
        user_agent: str = "registrations-test-phone",
        expires: int | None = 300,
        from_uri: str | None = None,
        auth_username: str | None = None,
        call_id: str | None = None,
        instance: str | None = None,
        extra_headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        timeout: float = TIMER_F,
        on_exchange: Callable[[Request, Response], None] | None = None,
    ) -> None:
        super().__init__(proxy=proxy, transport=transport, timeout=timeout)
        self.username, self.realm, self.password = username, realm, password
        self.aor = f"sip:{escape_user(username)}@{realm}"
        self.from_uri = from_uri or self.aor
        self.auth_username = username if auth_username is None else auth_username
        self.call_id = call_id or str(uuid.uuid4())
        self.user_agent, self.expires, self.instance = user_agent, expires, instance
        self.extra_headers = list(extra_headers.items() if isinstance(extra_headers, Mapping) else extra_headers)
        self.on_exchange = on_exchange
        self.cseq = 0
        self.granted = 0
        self.registered = False
        self.sent_by: str | None = None
        self._contact = contact
        self._invalid_host = f"{secrets.token_hex(6)}.invalid"
        self._challenge: tuple[str, dict[str, str]] | None = None
        self._nonce_uses = 0

    def __repr__(self) -> str:
        return f"<Phone {self.aor} by {self.transport} to {host_port(*self.proxy)}>"

    @property
    def contact(self) -> str:
        """The contact's URI. Connects first if necessary; raises NoAnswer."""
        return parse_address(self._contact_value())[0]

    def register(self, expires: int | None = None, *, timeout: float | None = None) -> Response:
        """Register or refresh and return the final response, whatever its status.

        Answers one challenge (401 or 407). Credentials that the proxy has accepted before are sent with the first
        request.

        Args:
            expires: seconds to ask for, this time only.
            timeout: seconds for each request, this time only.

        Raises:
            NoAnswer: no answer came in time.
        """
        return self._exchange(self._contact_value, self.expires if expires is None else expires, timeout)

    def unregister(self, *, timeout: float | None = None) -> Response:
        """Remove our contact (Expires: 0) and return the final response. Raises NoAnswer."""
        return self.register(0, timeout=timeout)

    def unregister_all(self, *, timeout: float | None = None) -> Response:
        """Remove every contact of the AoR (Contact: *, RFC 3261 section 10.2.2). Raises NoAnswer."""
        return self._exchange(lambda: "*", 0, timeout)

    def _exchange(self, contact: Callable[[], str], expires: int | None, timeout: float | None) -> Response:
        with self._busy:
            try:
                response = self._attempt_once(contact, expires, timeout)
                if response.status in {401, 407} and self._accept_challenge(response):
                    response = self._attempt_once(contact, expires, timeout)
                    if response.status in {401, 407}:
                        self._challenge = None
            except NoAnswer:
                self.registered = False
                raise
            if response.ok:
                self.granted = self._granted(response, contact(), expires)
            self.registered = response.ok and self.granted > 0
            return response

    def _accept_challenge(self, response: Response) -> bool:
        """Keep the challenge for this and the next requests; False if we cannot answer it."""
        challenge = usable_challenge(response)
        name = "Proxy-Authorization" if response.status == 407 else "Authorization"
        self._challenge, self._nonce_uses = None if challenge is None else (name, challenge), 0
        return challenge is not None

    def _attempt_once(self, contact: Callable[[], str], expires: int | None, timeout: float | None) -> Response:
        wait = self.timeout if timeout is None else timeout
        request, response = self._transact(lambda connection: self._request(connection, contact(), expires), wait)
        if self.on_exchange is not None:
            self.on_exchange(request, response)
        return response

    def _granted(self, response: Response, contact: str, asked: int | None) -> int:
        """Seconds that the registrar granted our contact (RFC 3261 section 10.2.4), 0 if it has no binding."""
        ours = response.contacts.get(parse_address(contact)[0])
        if ours is None:
            return 0
        granted = ours.get("expires") or response.headers.get("Expires") or str(3600 if asked is None else asked)
        return int(granted) if granted.isdecimal() else 3600

    def _contact_value(self) -> str:
        if self._contact is not None:
            value = self._contact if "<" in self._contact else f"<{self._contact}>"
        elif self.transport == "ws":
            value = f"<sip:{escape_user(self.username)}@{self._invalid_host};transport=ws>"
        else:
            transport = ";transport=tcp" if self.transport == "tcp" else ""
            value = f"<sip:{escape_user(self.username)}@{host_port(*self.local)}{transport}>"
        return value if self.instance is None else f'{value};+sip.instance="<{self.instance}>";reg-id=1'

    def _request(self, connection: Connection, contact: str, expires: int | None) -> Request:
        self.cseq += 1
        sent_by = self.sent_by or (self._invalid_host if self.transport == "ws" else host_port(*connection.local))
        headers = [
            (
                "Via",
                f"SIP/2.0/{self.transport.upper()} {sent_by};branch=z9hG4bK{secrets.token_hex(12)};rport",
            ),
            ("Max-Forwards", "70"),
            ("From", f"{self.from_uri if '<' in self.from_uri else f'<{self.from_uri}>'};tag={self._tag}"),
            ("To", f"<{self.aor}>"),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} REGISTER"),
            ("Contact", contact),
            ("User-Agent", self.user_agent),
        ]
        if expires is not None:
            headers.append(("Expires", str(expires)))
        if self.instance is not None:
            headers.append(("Supported", "path, outbound"))
        uri = f"sip:{self.realm}"
        if self._challenge is not None:
            name, challenge = self._challenge
            self._nonce_uses += 1
            user, nc = self.auth_username, self._nonce_uses
            value = credentials(challenge, username=user, password=self.password, method="REGISTER", uri=uri, nc=nc)
            headers.append((name, value))
        return Request("REGISTER", uri, headers=Headers([*headers, *self.extra_headers]))


def _host_and_port(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or value.endswith("]"):
        host, port = value, "5060"
    if not port.isdecimal():
        raise click.BadParameter(f"{value!r} is not host:port ([::1]:5060 for IPv6)")
    return host.strip("[]"), int(port)


def _say(request: Request, response: Response) -> None:
    asked = request.headers.get("Expires")
    click.echo(f"{datetime.now():%H:%M:%S} REGISTER {request.headers['CSeq']} Expires {asked}: {response.start_line}")


@click.command()
@click.option("--proxy", required=True, callback=_host_and_port, help="host:port, [::1]:5060 for IPv6")
@click.option("--username", required=True)
@click.option("--realm", required=True, help="domain of the account")
@click.option("--password", prompt=True, hide_input=True)
@click.option("--transport", type=click.Choice(["udp", "tcp", "ws"]), default="udp", show_default=True)
@click.option("--expires", type=click.IntRange(1), default=300, show_default=True, help="seconds to ask for")
@click.option("--once", is_flag=True, help="register once and leave the binding")
@click.option("--unregister", is_flag=True, help="remove every contact of the account and end")
def main(
    *,
    proxy: tuple[str, int],
    username: str,
    realm: str,
    password: str,
    transport: TransportName,
    expires: int,
    once: bool,
    unregister: bool,
) -> None:
    """Register one phone, keep it registered until Ctrl-C, then un-register it. A second Ctrl-C kills."""
    phone = Phone(
        username,
        realm,
        password,
        proxy=proxy,
        transport=transport,
        expires=expires,
        timeout=PATIENCE,
        on_exchange=_say,
    )
    told_to_stop: SimpleQueue[None] = SimpleQueue()  # a signal handler needs it reentrant, unlike an Event

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        told_to_stop.put(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with phone:
        try:
            response = phone.unregister_all() if unregister else phone.register()
        except NoAnswer as error:
            raise click.ClickException(str(error)) from error
        if not response.ok:
            raise click.ClickException(f"refused: {response.start_line}")
        if not once and not unregister:
            with Fleet([phone], on_error=lambda _, error: click.echo(f"{error}", err=True)):
                told_to_stop.get()


if __name__ == "__main__":
    main()
