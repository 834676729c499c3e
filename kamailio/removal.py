"""Removing bindings from the memory of a node: at once and whole AoRs, or later and only what has not changed since.

Owns how Kamailio is made to forget, and how that is verified; who asks for it and when is the caller's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Protocol
from urllib.parse import quote

from kamailio.errors import KamailioError, KamailioUnreachable, RpcError, RpcProtocolError
from kamailio.nodes import require_loaded
from kamailio.rpc import Call, JsonRpcClient
from kamailio.usrloc import TABLE, Contact, aor, lookup_many, rm_contact, rm_many

# Calls in a row on each of a transport's lanes until the node is asked whether it has loaded. What is done by then
# stays known, whatever becomes of the rest.
CHUNK = 100
# Of the guarded removal in registrations.cfg.
GUARDED = "registrations.rm"
NOT_THERE, NEWER_THERE = 404, 409
NOT_SERVED = frozenset({"Method Not Found", "Method Not Allowed", "Forbidden"})


class Outcome(enum.Enum):
    """What became of a binding at one node."""

    GONE = "gone"
    NEWER = "newer"


class Doomed(Protocol):
    """A binding that is to go, as it was when its flush was asked for.

    Attributes:
        username: of the AoR, unescaped.
        domain: of the AoR; None under `use_domain=0`.
        ruid: of the binding; None for whatever the AoR had.
        modified_epoch: second of the newest REGISTER that is to go, epoch seconds on Kamailio's clock.
        cseq: of that REGISTER; -1: none in that second is to go.
        newcomers: ruids that registered since then, whatever the clock said; they stay.
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
    def newcomers(self) -> Sequence[str]: ...  # noqa: D102


Progress = Callable[[int], None]


def remove(
    client: JsonRpcClient, doomed: Sequence[Doomed], *, budget: float, progress: Progress = lambda _: None
) -> list[Outcome | KamailioError]:
    """Remove the AoRs of these bindings whole, a newer registration of them too: for the moment of the request itself.

    Args:
        client: of a node.
        doomed: several may be of one AoR, which is removed once.
        budget: seconds for all of them.
        progress: is told how many AoRs are done.

    Returns:
        In the order of ``doomed``: GONE, or why that is not certain.
    """
    deadline = monotonic() + budget
    names = [aor(each.username, each.domain) for each in doomed]
    outcomes: dict[str, Outcome | KamailioError] = {}
    waiting = iter(dict.fromkeys(names))
    while chunk := list(islice(waiting, CHUNK * client.window)):
        try:
            require_loaded(client)
            outcomes |= _remove_chunk(client, chunk, deadline=deadline)
        except KamailioError as error:
            outcomes |= dict.fromkeys([*chunk, *waiting], error)
        progress(len(outcomes))
    return [outcomes[name] for name in names]


def remove_unchanged(
    client: JsonRpcClient, doomed: Sequence[Doomed], *, budget: float
) -> list[Outcome | KamailioError]:
    """Remove bindings that have not registered since their flush was asked for, and no other: for retries.

    A binding is the old one if its last REGISTER is none later than that which is to go. Where registrations.cfg is
    loaded and JSON-RPC goes over HTTP, Kamailio itself compares and removes in one step; elsewhere milliseconds lie
    between.

    Args:
        client: of a node.
        doomed: what is to go.
        budget: seconds for all of them.

    Returns:
        In the order of ``doomed``: GONE, NEWER when it registered again, or why neither is certain.
    """
    deadline = monotonic() + budget
    outcomes: list[Outcome | KamailioError] = []
    waiting = iter(doomed)
    while chunk := list(islice(waiting, CHUNK * client.window)):
        try:
            require_loaded(client)
            outcomes += _remove_readable(client, chunk, deadline=deadline)
        except KamailioError as error:
            outcomes += [error] * (len(doomed) - len(outcomes))
            break
    return outcomes


def _remove_readable(client: JsonRpcClient, doomed: list[Doomed], *, deadline: float) -> list[Outcome | KamailioError]:
    """Halve what has an answer that nobody can read: one AoR with very many phones is to hold up no other."""
    try:
        return _remove_unchanged(client, doomed, deadline=deadline)
    except RpcProtocolError as error:
        if len(doomed) == 1:
            return [error]
    half = len(doomed) // 2
    return [
        *_remove_readable(client, doomed[:half], deadline=deadline),
        *_remove_readable(client, doomed[half:], deadline=deadline),
    ]


def _left(client: JsonRpcClient, deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise KamailioUnreachable(client.url, "the time for it is used up")
    return left


def _remove_chunk(client: JsonRpcClient, names: list[str], *, deadline: float) -> dict[str, Outcome | KamailioError]:
    results = rm_many(client, names, budget=_left(client, deadline))
    outcomes: dict[str, Outcome | KamailioError] = {}
    refused = {}
    for name, error in zip(names, results, strict=True):
        if error is None:
            outcomes[name] = Outcome.GONE
        else:
            refused[name] = error
    # "Failed to delete AOR" with PostgreSQL away: the memory is clean all the same. Only a look tells.
    found = lookup_many(client, refused, budget=_left(client, deadline)) if refused else []
    for (name, error), contacts in zip(refused.items(), found, strict=True):
        outcomes[name] = error if isinstance(contacts, RpcError) or contacts else Outcome.GONE
    return outcomes


def is_old(modified_epoch: int, cseq: int, *, bound: tuple[int, int]) -> bool:
    """Whether a binding with this last REGISTER is the one that the bound was taken of."""
    return modified_epoch < bound[0] or (modified_epoch, cseq) == bound


def _remove_unchanged(client: JsonRpcClient, doomed: list[Doomed], *, deadline: float) -> list[Outcome | KamailioError]:
    known = [(each, each.ruid, (each.modified_epoch, each.cseq)) for each in doomed if each.ruid is not None]
    of_known = iter(_guarded(client, known, deadline))
    of_unknown = iter(_remove_older(client, [each for each in doomed if each.ruid is None], deadline=deadline))
    return [next(of_unknown) if each.ruid is None else next(of_known) for each in doomed]


def _remove_older(client: JsonRpcClient, doomed: list[Doomed], *, deadline: float) -> Iterator[Outcome | KamailioError]:
    """Remove every binding of these AoRs that is old enough."""
    if not doomed:
        return
    found = lookup_many(client, [aor(each.username, each.domain) for each in doomed], budget=_left(client, deadline))
    for each, contacts in zip(doomed, found, strict=True):
        if isinstance(contacts, RpcError):
            yield contacts
            continue
        bound = (each.modified_epoch, each.cseq)
        old = [
            (each, one.ruid, bound)
            for one in contacts
            if one.ruid not in each.newcomers and is_old(one.last_modified, one.cseq, bound=bound)
        ]
        yield next((one for one in _guarded(client, old, deadline) if isinstance(one, KamailioError)), Outcome.GONE)


def _guarded(
    client: JsonRpcClient, wanted: Sequence[tuple[Doomed, str, tuple[int, int]]], deadline: float
) -> list[Outcome | KamailioError]:
    calls = [
        Call(GUARDED, ("|".join(("", _hex(_uri(each)), _hex(ruid), str(bound[0]), str(bound[1]), "")),))
        for each, ruid, bound in wanted
    ]
    if not calls:
        return []
    if not client.url.startswith("http:"):
        return _compare_and_remove(client, wanted, deadline)  # the command is one of the route for HTTP
    results = client.call_many(calls, budget=_left(client, deadline))
    if any(isinstance(result, RpcError) and result.message in NOT_SERVED for result in results):
        return _compare_and_remove(client, wanted, deadline)
    return [_outcome(result) for result in results]


def _outcome(result: object | RpcError) -> Outcome | KamailioError:
    if not isinstance(result, RpcError) or result.code == NOT_THERE:
        return Outcome.GONE
    return Outcome.NEWER if result.code == NEWER_THERE else result


def _compare_and_remove(
    client: JsonRpcClient, wanted: Sequence[tuple[Doomed, str, tuple[int, int]]], deadline: float
) -> list[Outcome | KamailioError]:
    names = [aor(each.username, each.domain) for each, _, _ in wanted]
    found = lookup_many(client, names, budget=_left(client, deadline))
    outcomes: list[Outcome | KamailioError] = []
    for name, (_, ruid, bound), contacts in zip(names, wanted, found, strict=True):
        if isinstance(contacts, RpcError):
            outcomes.append(contacts)
            continue
        contact = _with_ruid(contacts, ruid)
        if contact is None:
            outcomes.append(Outcome.GONE)
        elif not is_old(contact.last_modified, contact.cseq, bound=bound):
            outcomes.append(Outcome.NEWER)
        else:
            _left(client, deadline)
            outcomes.append(_forget(client, name, contact))
    return outcomes


def _with_ruid(contacts: Iterable[Contact], ruid: str) -> Contact | None:
    return next((contact for contact in contacts if contact.ruid == ruid), None)


def _forget(client: JsonRpcClient, name: str, contact: Contact) -> Outcome | KamailioError:
    try:
        rm_contact(client, name, contact.address, table=TABLE)
    except RpcError as error:
        return Outcome.GONE if error.code == NOT_THERE else error
    return Outcome.GONE


def _uri(doomed: Doomed) -> str:
    # Under use_domain=0 usrloc looks at the user part alone, but the URI must have a host.
    return f"sip:{quote(doomed.username, safe='', errors='surrogateescape')}@{doomed.domain or 'registrations.invalid'}"


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").hex()
