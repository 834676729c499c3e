"""Removal of bindings from a node's memory: whole AoRs, or only bindings that have not registered again.

Owns the batches, the deadline and the check that a binding is gone. The caller decides what to remove and when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from time import monotonic

from kamailio.bindings import Doomed, Outcome, can_name, is_old, look_up, seconds_left
from kamailio.errors import KamailioError, RpcError, RpcProtocolError
from kamailio.guarded_removal import remove_guarded
from kamailio.rpc import JsonRpcClient
from kamailio.survey import require_loaded
from kamailio.usrloc import aor, lookup_many, rm_many

# Calls for each place in the transport's window, before we ask again whether the node has loaded usrloc's table.
# If a later batch fails, the outcomes of the earlier ones stay valid.
CHUNK = 100


def remove(client: JsonRpcClient, doomed: Sequence[Doomed], *, budget: float) -> list[Outcome | KamailioError]:
    """Remove every binding of these bindings' AoRs, newer ones included. Call it only when a flush is requested.

    If usrloc's commands cannot name an AoR (see `can_name`), remove only its unchanged bindings.

    Args:
        client: of a node.
        doomed: bindings; each AoR is removed once.
        budget: seconds for all of them.

    Returns:
        In the order of ``doomed``: GONE, or the error that leaves it open. NEWER is only for an AoR without a name.
    """
    deadline = monotonic() + budget
    is_named = can_name(client, doomed)
    if not all(map(is_named, doomed)):
        others = iter(remove_unchanged(client, [each for each in doomed if not is_named(each)], budget=budget))
        named = [each for each in doomed if is_named(each)]
        whole = iter(remove(client, named, budget=deadline - monotonic()))
        return [next(whole if is_named(each) else others) for each in doomed]
    names = [aor(each.username, each.domain) for each in doomed]
    outcomes: dict[str, Outcome | KamailioError] = {}
    waiting = iter(dict.fromkeys(names))
    while chunk := list(islice(waiting, CHUNK * client.window)):
        try:
            require_loaded(client)
            outcomes |= _remove_chunk(client, chunk, deadline=deadline)
        except KamailioError as error:
            outcomes |= dict.fromkeys([*chunk, *waiting], error)
    return [outcomes[name] for name in names]


def remove_unchanged(
    client: JsonRpcClient, doomed: Sequence[Doomed], *, budget: float
) -> list[Outcome | KamailioError]:
    """Remove only bindings that have not registered since somebody requested their flush. Use it for retries.

    A binding is unchanged if its last REGISTER is the one to remove, or an earlier one. With registrations.cfg over
    HTTP, Kamailio compares and removes in one step. Otherwise milliseconds pass between the two.

    Args:
        client: of a node.
        doomed: bindings to remove.
        budget: seconds for all of them.

    Returns:
        In the order of ``doomed``: GONE, NEWER if it registered again, or the error that leaves both open.
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
    """Halve the batch after an unreadable answer, so that an AoR with very many phones delays no other."""
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


def _remove_chunk(client: JsonRpcClient, names: list[str], *, deadline: float) -> dict[str, Outcome | KamailioError]:
    results = rm_many(client, names, budget=seconds_left(client, deadline))
    outcomes: dict[str, Outcome | KamailioError] = {}
    refused = {}
    for name, error in zip(names, results, strict=True):
        if error is None:
            outcomes[name] = Outcome.GONE
        else:
            refused[name] = error
    # Without PostgreSQL usrloc answers "Failed to delete AOR" although its memory is clean. So look it up.
    found = lookup_many(client, refused, budget=seconds_left(client, deadline)) if refused else []
    for (name, error), contacts in zip(refused.items(), found, strict=True):
        outcomes[name] = error if isinstance(contacts, RpcError) or contacts else Outcome.GONE
    return outcomes


def _remove_unchanged(client: JsonRpcClient, doomed: list[Doomed], *, deadline: float) -> list[Outcome | KamailioError]:
    known = [(each, each.ruid) for each in doomed if each.ruid is not None]
    of_known = iter(remove_guarded(client, known, deadline=deadline))
    of_unknown = iter(_remove_older(client, [each for each in doomed if each.ruid is None], deadline=deadline))
    return [next(of_unknown) if each.ruid is None else next(of_known) for each in doomed]


def _remove_older(client: JsonRpcClient, doomed: list[Doomed], *, deadline: float) -> Iterator[Outcome | KamailioError]:
    """Remove every unchanged binding of these AoRs."""
    if not doomed:
        return
    found = look_up(client, doomed, deadline=deadline)
    for each, contacts in zip(doomed, found, strict=True):
        if isinstance(contacts, RpcError):
            yield contacts
            continue
        old = [(each, one.ruid) for one in contacts if one.ruid not in each.newcomers and is_old(one, each)]
        yield next(
            (one for one in remove_guarded(client, old, deadline=deadline) if isinstance(one, KamailioError)),
            Outcome.GONE,
        )
