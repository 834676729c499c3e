"""Facts about bindings that usrloc does not store. registrations.cfg queues them; this module fetches them.

Owns the format of the queue's elements and the command that fetches them (module mqueue). The caller stores them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from kamailio.errors import NOT_SERVED, RpcError
from kamailio.rpc import JsonRpcClient

QUEUE = "registrations"
EMPTY = (404, "Empty queue")
NO_QUEUE = "No such queue"

# PostgreSQL refuses to index a very long one, and then the whole statement fails.
_RUID = re.compile(r"[!-~]{1,255}")
_VALUE = re.compile(r"(?P<source>[!-{}~]*)\|(?P<user>(?:[0-9A-Fa-f]{2})*)\|(?P<host>(?:[0-9A-Fa-f]{2})*)")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What registrations.cfg queued about the last REGISTER of a binding.

    Attributes:
        ruid: of the binding.
        source: URI of its sender, such as `sip:192.0.2.1:5060;transport=tcp`.
        from_user: user of its From header, if a third party registered the binding; empty if that From has no user.
        from_host: host of that From header.
    """

    ruid: str
    source: str | None
    from_user: str | None
    from_host: str | None


class NotServed(RpcError):
    """Kamailio has no such queue, or refuses to let us fetch from it."""


def fetch(client: JsonRpcClient, *, limit: int, budget: float) -> Iterator[Announcement]:
    """Fetch the announcements, oldest first, until the queue is empty.

    Fetches one at a time: Kamailio answers concurrent calls in any order, and a binding's last announcement counts.

    Args:
        client: of one node.
        limit: maximum number of elements.
        budget: seconds after which no new call starts; the last call may take the client's timeout longer.

    Yields:
        Each announcement as soon as it arrives. Kamailio has removed it from the queue, so the caller must keep it.

    Raises:
        KamailioUnreachable: no answer; one announcement may be lost.
        NotServed: the node has no such queue, or refuses to let us fetch from it.
        RpcError: another refusal.
        RpcProtocolError: the answer is not JSON-RPC; one announcement may be lost.
    """
    deadline = monotonic() + budget
    for _ in range(limit):
        try:
            element = client.call("mqueue.fetch", QUEUE)
        except RpcError as error:
            if (error.code, error.message) == EMPTY:
                return
            if error.message == NO_QUEUE or error.message in NOT_SERVED:
                raise NotServed(error.code, error.message, error.method) from None
            raise
        if (announcement := _announcement(element)) is not None:
            yield announcement
        else:
            facts = {"action": "fetch", "url": client.url, "element": repr(element)[:1000]}
            log.warning("announcement not understood, dropped", extra=facts)
        if monotonic() >= deadline:
            return


def _announcement(element: object) -> Announcement | None:
    members = element if isinstance(element, dict) else {}
    ruid, value = members.get("key"), members.get("val")
    said = _VALUE.fullmatch(value) if isinstance(value, str) else None
    if said is None or not isinstance(ruid, str) or not _RUID.fullmatch(ruid):
        return None
    user, host = _text(said["user"]), _text(said["host"])
    if "\0" in user + host:  # PostgreSQL cannot store it
        return None
    third_party = bool(user or host)
    return Announcement(
        ruid=ruid,
        source=said["source"] or None,
        from_user=user if third_party else None,
        from_host=host if third_party else None,
    )


def _text(hexadecimal: str) -> str:
    """Decode bytes that a phone sent: as UTF-8, otherwise as Latin-1."""
    sent = bytes.fromhex(hexadecimal)
    try:
        return sent.decode()
    except UnicodeDecodeError:
        return sent.decode("latin-1")
