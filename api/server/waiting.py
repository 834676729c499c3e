"""Refuses a request that waited too long for a thread: the queue drains, and no client waits without end."""

from contextvars import ContextVar

from flask import request

from api.errors import ServerBusy
from api.extensions import settings
from api.policy import current_policy

# Seconds that the current request waited for a thread; the server sets it in the thread that works on the request.
waited: ContextVar[float] = ContextVar("waited", default=0.0)


def refuse_late() -> None:
    """Refuse the request if it waited too long, unless it is cheap, such as /live.

    Raises:
        ServerBusy: it waited longer than ``api_queue_timeout``.
    """
    if request.url_rule is not None and current_policy().cost and waited.get() > settings().api_queue_timeout:
        raise ServerBusy(waited.get())
