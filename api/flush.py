"""The order of a flush: Kamailio forgets the bindings, then what still has a row is hidden.

A row is never removed before its binding: while Kamailio has that in memory, the phone would go on as registered but
unseen (usrloc, db_mode 1). When Kamailio cannot be reached nothing has changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from kamailio.errors import KamailioError, RpcError
from kamailio.rpc import JsonRpcClient
from kamailio.usrloc import aor, lookup_many, rm_many
from sql.connections import Database
from sql.flushing import Binding, DeviceAor, find_remaining, hide_bindings


class BindingStayed(KamailioError):
    """Kamailio answered but still has a binding that it was told to remove."""


class Proxy:
    """How to reach Kamailio, and how many seconds one flush may take in calls to it."""

    def __init__(self, connect: Callable[..., JsonRpcClient], *, budget: float) -> None:
        """Keep how to connect: a function that may be given a ``timeout`` in seconds for one call."""
        self.connect = connect
        self.budget = budget


@dataclass(frozen=True, slots=True)
class Flushed:
    """How many bindings are gone with their rows, and how many only from this Kamailio's memory, their rows hidden."""

    flushed: int
    pending: int


def flush(
    proxy: Proxy, database: Database, *, bindings: Sequence[Binding], devices: Sequence[DeviceAor] = ()
) -> Flushed:
    """Remove bindings from Kamailio's memory, and from every list.

    Args:
        proxy: where they are.
        database: where their rows are.
        bindings: what was registered when the flush was asked for.
        devices: AoRs to remove even if no row shows a binding of them (db_mode 2 writes rows late).

    Raises:
        KamailioUnreachable: Kamailio did not answer in time.
        BindingStayed: Kamailio did not do as told; what it did forget is hidden all the same.
        DatabaseUnreachable: whether the rows are gone is not known.
    """
    deadline = monotonic() + proxy.budget
    aors = {aor(binding.username, binding.domain): None for binding in bindings}
    aors |= {aor(device.username, device.realm): None for device in devices}
    if not aors:
        return Flushed(0, 0)
    with proxy.connect() as client:
        results = rm_many(client, list(aors), budget=proxy.budget)
        refused = {name for name, error in zip(aors, results, strict=True) if error is not None}
        with database.connection() as connection:
            remaining = find_remaining(connection, bindings)
        # A row may stay although memory is clean: in db_mode 2 until the timer, after an outage of PostgreSQL, or
        # because it is another node's.
        doubtful = list(refused | {aor(binding.username, binding.domain) for binding in remaining})
        found = lookup_many(client, doubtful, budget=max(deadline - monotonic(), 0.1))
    stayed = {
        name
        for name, contacts in zip(doubtful, found, strict=True)
        if isinstance(contacts, RpcError) or (name in refused and contacts)
    }
    in_memory = {
        contact.ruid: contact.last_modified
        for contacts in found
        if not isinstance(contacts, RpcError)
        for contact in contacts
    }
    gone = []
    for binding in remaining:
        name = aor(binding.username, binding.domain)
        if binding.ruid not in in_memory and name not in stayed:
            gone.append(binding)
        elif in_memory.get(binding.ruid, 0) <= binding.modified_epoch:  # or else it registered again meanwhile
            stayed.add(name)
    with database.connection() as connection:
        hide_bindings(connection, gone)
    if stayed:
        raise BindingStayed(f"Kamailio did not remove {len(stayed)} of {len(aors)} AoRs")
    visible, pending = (sum(binding.visible for binding in some) for some in (bindings, gone))
    return Flushed(flushed=visible - pending, pending=pending)
