"""Digest credentials for SIP (RFC 3261 section 22, RFC 2617, RFC 7616, RFC 8760)."""

import hashlib
import re
import secrets
from collections.abc import Mapping

from tests.stand.sip import Response, parameters

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def digest_response(
    challenge: Mapping[str, str], *, username: str, password: str, method: str, uri: str, nc: int, cnonce: str
) -> str:
    """Compute `response` by RFC 2617 section 3.2.2.1, with qop=auth if the challenge has a qop, or else by RFC 2069."""
    new = _HASHES[challenge.get("algorithm", "MD5").upper()]

    def digest(*parts: str) -> str:
        return new(":".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    middle = (challenge["nonce"], f"{nc:08x}", cnonce, "auth") if "qop" in challenge else (challenge["nonce"],)
    return digest(digest(username, challenge["realm"], password), *middle, digest(method, uri))


def usable_challenge(response: Response) -> dict[str, str] | None:
    """Return the first challenge of a 401 or 407 that we support: MD5 or SHA-256 (RFC 8760), qop auth or none."""
    for value in response.headers.all("Proxy-Authenticate" if response.status == 407 else "WWW-Authenticate"):
        scheme, _, rest = value.partition(" ")
        challenge = parameters(rest)
        known = challenge.get("algorithm", "MD5").upper() in _HASHES and {"realm", "nonce"} <= challenge.keys()
        qop = re.split(r"[\s,]+", challenge.get("qop", "auth"))
        if scheme.lower() == "digest" and known and "auth" in qop:
            return challenge
    return None


def credentials(challenge: Mapping[str, str], *, username: str, password: str, method: str, uri: str, nc: int) -> str:
    """Return the value of Authorization or Proxy-Authorization. `nc` counts the uses of this nonce, from 1."""
    cnonce = secrets.token_hex(8)
    response = digest_response(
        challenge, username=username, password=password, method=method, uri=uri, nc=nc, cnonce=cnonce
    )
    quoted = {"username": username, "realm": challenge["realm"], "nonce": challenge["nonce"], "uri": uri}
    quoted |= {"response": response}
    quoted |= {"opaque": challenge["opaque"]} if "opaque" in challenge else {}
    bare = {"algorithm": challenge["algorithm"]} if "algorithm" in challenge else {}
    if "qop" in challenge:
        quoted |= {"cnonce": cnonce}
        bare |= {"qop": "auth", "nc": f"{nc:08x}"}
    escaped = {name: re.sub(r'(["\\])', r"\\\1", value) for name, value in quoted.items()}
    items = [
        *(f'{name}="{value}"' for name, value in escaped.items()),
        *(f"{n}={v}" for n, v in bare.items()),
    ]
    return "Digest " + ", ".join(items)
