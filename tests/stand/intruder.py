"""A phone that forges its answer to a challenge: any digest username, any HA1, any number of header fields."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.stand.phone import Phone
from tests.stand.sip import Headers, Request, Response
from tests.stand.sip_transport import Connection

Challenge = Mapping[str, str]
Forge = Callable[[Challenge], Sequence[tuple[str, str]]]


def ha1(username: str, realm: str, password: str) -> bytes:
    """H(A1) of RFC 2617, 3.2.2.2, in hex."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest().encode()


def digest(challenge: Challenge, username: str, secret: bytes, *, uri: str, method: str = "REGISTER") -> str:
    """Return the value of Authorization for that username and H(A1), by RFC 2069, which has no qop."""
    ha2 = hashlib.md5(f"{method}:{uri}".encode(), usedforsecurity=False).hexdigest().encode()
    whole = b":".join((secret, challenge["nonce"].encode(), ha2))
    response = hashlib.md5(whole, usedforsecurity=False).hexdigest()
    return (
        f'Digest username="{username}", realm="{challenge["realm"]}", nonce="{challenge["nonce"]}", uri="{uri}", '
        f'response="{response}"'
    )


class Intruder(Phone):
    """A phone that sends the header fields of `forge` in place of credentials. For the rest see Phone.

    Args:
        username: user part of the AoR that it attacks.
        realm: domain of that AoR.
        forge: makes header fields from the challenge.
        options: further arguments of Phone.
    """

    def __init__(self, username: str, realm: str, forge: Forge, **options: Any) -> None:
        super().__init__(username, realm, "", **options)
        self._forge = forge

    def borrow_challenge(self, phone: Phone) -> None:
        """Use another phone's challenge, so that the next request already has credentials."""
        self._challenge = phone._challenge

    def ask(self, method: str, uri: str) -> Response:
        """Send a request other than REGISTER from the AoR and return its final response."""
        for _ in range(2):
            _, response = self._transact(lambda connection: self._other(connection, method, uri), self.timeout)
            if response.status != 407 or not self._accept_challenge(response):
                break
        return response

    def _request(self, connection: Connection, contact: str, expires: int | None) -> Request:
        request = super()._request(connection, contact, expires)
        if self._challenge is None:
            return request
        name, challenge = self._challenge
        kept = [field for field in request.headers if field[0] != name]
        return Request(request.method, request.uri, headers=Headers([*kept, *self._forge(challenge)]))

    def _other(self, connection: Connection, method: str, uri: str) -> Request:
        request = self._request(connection, "<sip:unused.invalid>", None)
        kept = [field for field in request.headers if field[0] not in {"To", "Contact", "CSeq"}]
        headers = Headers([*kept, ("To", f"<{uri}>"), ("CSeq", f"{self.cseq} {method}")])
        return Request(method, uri, headers=headers)
