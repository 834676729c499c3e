"""Bindings to remove: what identifies one, and how to tell it from a newer registration.

`kamailio.removal` and `kamailio.guarded_removal` remove them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Protocol

from kamailio.errors import KamailioUnreachable, NotCarried, RpcError
from kamailio.rpc import JsonRpcClient
from kamailio.usrloc import Contact, aor, keeps_domains, lookup_many


class Outcome(enum.Enum):
    """What became of a binding at one node."""

    GONE = "gone"
    NEWER = "newer"


class Doomed(Protocol):
    """A binding to remove, as it was when somebody requested its flush.

    Attributes:
        username: of the AoR, unescaped, up to its last "@".
        domain: of the AoR; None under `use_domain=0`.
        ruid: of the binding; None for every binding of the AoR.
        modified_epoch: second of the newest REGISTER to remove, epoch seconds on Kamailio's clock.
        cseq: of that REGISTER; -1 keeps every REGISTER of that second.
        call_id: of that REGISTER; None matches any.
        newcomers: ruids that registered after the request, even if their clock says otherwise. They stay.
    """

    @property
    def username(self) -> str: ...  # noqa: D102
    @property
    def domain(self) -> str | None: ...  # noqa: D102
    @property
    def ruid(self) -> str | None: ...  # noqa: D102
    @property
    def modified_epoch(self) -> int: ...  # noqa: D102
    @property
    def cseq(self) -> int: ...  # noqa: D102
    @property
    def call_id(self) -> str | None: ...  # noqa: D102
    @property
    def newcomers(self) -> Sequence[str]: ...  # noqa: D102


def is_old(contact: Contact, doomed: Doomed) -> bool:
    """Whether the last REGISTER of a contact is the one to remove, or an earlier one."""
    if contact.last_modified != doomed.modified_epoch:
        return contact.last_modified < doomed.modified_epoch
    return contact.cseq == doomed.cseq and doomed.call_id in {None, contact.call_id}


def can_name(client: JsonRpcClient, doomed: Iterable[Doomed]) -> Callable[[Doomed], bool]:
    """Return a test of whether usrloc's commands can name a binding's AoR.

    Under use_domain=0 the commands cut a name at its first "@". Under use_domain=1 they refuse a name without a user.
    """
    if all(each.username and "@" not in each.username for each in doomed):
        return lambda _: True
    domains = keeps_domains(client)
    return lambda each: bool(each.username) if domains else "@" not in each.username


def look_up(
    client: JsonRpcClient, doomed: Sequence[Doomed], *, deadline: float
) -> list[tuple[Contact, ...] | RpcError]:
    """Look up the AoRs of these bindings. An AoR that usrloc's commands cannot name gets NotCarried."""
    names = [aor(each.username, each.domain) for each in doomed]
    found = lookup_many(client, names, budget=seconds_left(client, deadline))
    is_named = can_name(client, doomed)
    refusal = NotCarried(client.url, "usrloc's commands cannot name this AoR", "ul.lookup")
    return [contacts if is_named(each) else refusal for each, contacts in zip(doomed, found, strict=True)]


def seconds_left(client: JsonRpcClient, deadline: float) -> float:
    """Return the seconds until a deadline of `time.monotonic`.

    Raises:
        KamailioUnreachable: the deadline has passed.
    """
    left = deadline - monotonic()
    if left <= 0:
        raise KamailioUnreachable(client.url, "the time limit is used up")
    return left
