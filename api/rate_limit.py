"""How often a client may ask: Crossbar's tokens (kz_buckets), counted by client address and account.

Crossbar has buckets of 100 tokens, refilled at 10 a second; a request takes one, api_auth 35. The library limits has no
token bucket. Its nearest strategy is the sliding window counter: the same number of tokens at once, and those taken in
one window come back evenly over the next. The account is the one in the path, as in Crossbar, so no query is needed.

A refused request (401, 403) also counts against the address alone. Otherwise a client would get a fresh limit with
every account that it makes up. An address with too many refusals gets 429 for a while, whatever it asks.
"""

import ipaddress
import logging
import math
import time
from contextlib import suppress
from typing import cast

from flask import Response, request
from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from api.errors import TooManyRequests
from api.policy import current_policy

# No identifier is longer. Longer text in a path must not fill the storage.
ACCOUNT_LENGTH = 64
# The key of refused requests; no account has this name.
REFUSED = "/refused"
# A host chooses the other bits itself (RFC 4291, 2.5.1).
IPV6_PREFIX = 64

log = logging.getLogger(__name__)


def client_of(address: str) -> str:
    """The client that an address stands for: the address without its port, or the IPv6 network of 64 bits.

    Args:
        address: from the server or a proxy, ``192.0.2.1``, ``192.0.2.1:5060``, ``[2001:db8::1]:5060``. All addresses
            of another form count as one client.
    """
    host = address.rpartition(":")[0] if address.count(":") == 1 or "]:" in address else address
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(found), IPV6_PREFIX), strict=False))
        found = found.ipv4_mapped
    return str(found)


class RateLimit:
    """The limit of one application; each process counts for itself unless the storage is shared."""

    def __init__(self, *, burst: int, refill: float, storage: str) -> None:
        """Make the storage; it connects to nothing yet.

        Args:
            burst: tokens at once.
            refill: tokens a second.
            storage: URI of the library limits.
        """
        self._item = RateLimitItemPerSecond(burst, max(1, math.ceil(burst / refill)))
        self._limiter = SlidingWindowCounterRateLimiter(
            cast(Storage, storage_from_string(storage, wrap_exceptions=True))
        )

    def take(self, tokens: int, *key: str) -> None:
        """Take tokens, or all that are left if there are fewer, as Crossbar does.

        Args:
            tokens: how many; 0: take none, only require that one is left.
            key: what they are counted by.

        Raises:
            TooManyRequests: none is left.
        """
        try:
            left = self._limiter.get_window_stats(self._item, *key)
            if tokens == 0 and left.remaining:
                return
            if tokens and self._limiter.hit(self._item, *key, cost=min(tokens, max(left.remaining, 1))):
                return
        except StorageError as error:
            # Rather no limit than no service: the tokens of the clients are checked all the same.
            log.warning("rate limit storage unreachable", extra={"action": "rate_limit", "cause": str(error)})
            return
        raise TooManyRequests(retry_after=max(1, math.ceil(left.reset_time - time.time())))

    def take_for_request(self) -> None:
        """Count the request before anything is done for it. Preflights are free.

        Raises:
            TooManyRequests: the client must wait.
        """
        cost = current_policy().cost
        if request.url_rule is None or request.method == "OPTIONS" or not cost:
            return
        client = client_of(request.remote_addr or "")
        self.take(0, client, REFUSED)
        account_id = (request.view_args or {}).get("account_id", "")
        self.take(cost, client, account_id[:ACCOUNT_LENGTH])

    def count_refusal(self, response: Response) -> Response:
        """Count a refused request against its address."""
        if response.status_code in {401, 403}:
            with suppress(TooManyRequests):
                self.take(1, client_of(request.remote_addr or ""), REFUSED)
        return response
