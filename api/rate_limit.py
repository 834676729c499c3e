"""How often a client may ask: Crossbar's tokens (kz_buckets), counted by client address and account.

Crossbar has buckets of 100 tokens, refilled at 10 a second; a request takes one, api_auth 35. The library limits has no
bucket. Its nearest strategy is the sliding window counter: as many tokens at once, and what was taken in one window
comes back evenly over the next. The account is the one in the path, as in Crossbar, so nothing is looked up for this.

So that nobody gets a fresh limit with every account that he invents, requests that are refused (401, 403) are counted
once more, by the address alone: whoever has had too many of these is not looked at for a while, whatever he asks.
"""

import ipaddress
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from flask import Flask, Response, current_app, request
from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from api.errors import TooManyRequests

View = TypeVar("View", bound=Callable[..., Any])
# No identifier is longer; whatever else stands in a path must not fill the storage.
ACCOUNT_LENGTH = 64
# Where refused requests are counted; no account has this name.
REFUSED = "/refused"
# The rest is the host's to choose (RFC 4291, 2.5.1).
IPV6_PREFIX = 64

log = logging.getLogger(__name__)


def costs(tokens: int) -> Callable[[View], View]:
    """Make a view take another number of tokens than one; 0: it is not limited."""

    def mark(view: View) -> View:
        view.cost = tokens  # type: ignore[attr-defined]  # a mark, read below
        return view

    return mark


def client_of(address: str) -> str:
    """Whom an address stands for: itself without a port, and all of an IPv6 network of 64 bits.

    Args:
        address: as the server or a proxy says it, ``192.0.2.1``, ``192.0.2.1:5060``, ``[2001:db8::1]:5060``; what is
            none of these is one client, whatever it says.
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
        """Make the storage; one elsewhere is not connected to yet.

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
        """Take tokens, or all that are left if these are fewer, as Crossbar does; 0: only see whether any is left.

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
            # Better unlimited than closed: whoever may do what is decided elsewhere.
            log.warning("the rate limit's storage is away", extra={"action": "rate_limit", "cause": str(error)})
            return
        raise TooManyRequests(retry_after=max(1, math.ceil(left.reset_time - time.time())))


def init_app(app: Flask, limit: RateLimit) -> None:
    """Count every request for a view before anything is done for it; preflights are free."""

    def take() -> None:
        if request.url_rule is None or request.method == "OPTIONS":
            return
        cost = getattr(current_app.view_functions[request.url_rule.endpoint], "cost", 1)
        if cost:
            client = client_of(request.remote_addr or "")
            limit.take(0, client, REFUSED)
            account_id = (request.view_args or {}).get("account_id", "")
            limit.take(cost, client, account_id[:ACCOUNT_LENGTH])

    def count_refusal(response: Response) -> Response:
        if response.status_code in {401, 403}:
            with suppress(TooManyRequests):
                limit.take(1, client_of(request.remote_addr or ""), REFUSED)
        return response

    app.before_request(take)
    app.after_request(count_refusal)
