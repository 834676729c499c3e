"""How often a client may ask: Crossbar's tokens (kz_buckets), counted by client address and account.

Crossbar has buckets of 100 tokens, refilled at 10 a second; a request takes one, api_auth 35. The library limits has no
bucket. Its nearest strategy is the sliding window counter: as many tokens at once, and what was taken in one window
comes back evenly over the next. The account is the one in the path, as in Crossbar, so nothing is looked up for this.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, current_app, request
from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from api.errors import TooManyRequests

View = TypeVar("View", bound=Callable[..., Any])
# No identifier is longer; whatever else stands in a path must not fill the storage.
ACCOUNT_LENGTH = 64

log = logging.getLogger(__name__)


def costs(tokens: int) -> Callable[[View], View]:
    """Make a view take another number of tokens than one; 0: it is not limited."""

    def mark(view: View) -> View:
        view.cost = tokens  # type: ignore[attr-defined]  # a mark, read below
        return view

    return mark


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
        """Take tokens, or all that are left if these are fewer, as Crossbar does.

        Raises:
            TooManyRequests: none is left.
        """
        try:
            left = self._limiter.get_window_stats(self._item, *key)
            if self._limiter.hit(self._item, *key, cost=min(tokens, max(left.remaining, 1))):
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
            account_id = (request.view_args or {}).get("account_id", "")
            limit.take(cost, request.remote_addr or "", account_id[:ACCOUNT_LENGTH])

    app.before_request(take)
