"""The order of a flush: Kamailio forgets the bindings, then their rows are seen to be gone.

A row is never deleted first: while Kamailio has the binding in memory, the phone would go on as registered but unseen
(usrloc, db_mode 1). When Kamailio cannot be reached nothing has changed.
"""

from collections.abc import Callable, Sequence
from time import monotonic

from kamailio.errors import KamailioError
from kamailio.rpc import JsonRpcClient
from kamailio.usrloc import aor, lookup_many, rm_many
from sql.connections import Database
from sql.flushing import Binding, DeviceAor, delete_forgotten, find_remaining


class BindingStayed(KamailioError):
    """Kamailio answered but still has a binding that it was told to remove."""


class Proxy:
    """How to reach Kamailio, and how many seconds one flush may take in calls to it."""

    def __init__(self, connect: Callable[[], JsonRpcClient], *, budget: float) -> None:
        self.connect = connect
        self.budget = budget


def flush(proxy: Proxy, database: Database, *, bindings: Sequence[Binding], devices: Sequence[DeviceAor] = ()) -> None:
    """Remove bindings from Kamailio's memory and from the table.

    Args:
        proxy: where they are.
        database: where their rows are.
        bindings: what was registered when the flush was asked for.
        devices: AoRs to remove even if no row shows a binding of them (db_mode 2 writes rows late).

    Raises:
        KamailioUnreachable: Kamailio did not answer in time.
        BindingStayed: Kamailio did not do as told.
        DatabaseUnreachable: whether the rows are gone is not known.
    """
    deadline = monotonic() + proxy.budget
    aors = {aor(binding.username, binding.domain): None for binding in bindings}
    aors |= {aor(device.username, device.realm): None for device in devices}
    if not aors:
        return
    with proxy.connect() as client:
        rm_many(client, list(aors), budget=proxy.budget)
        with database.connection() as connection:
            remaining = find_remaining(connection, bindings)
            if not remaining:
                return
            # Rows may stay although memory is clean: in db_mode 2 until the timer, or after an outage of PostgreSQL.
            in_memory = lookup_many(
                client,
                [aor(binding.username, binding.domain) for binding in remaining],
                budget=max(deadline - monotonic(), 0.1),
            )
            ruids = {contact.ruid for contacts in in_memory for contact in contacts}
            delete_forgotten(connection, [binding for binding in remaining if binding.ruid not in ruids])
            stayed = [binding for binding in remaining if binding.ruid in ruids]
            if find_remaining(connection, stayed):
                raise BindingStayed(f"{len(stayed)} binding(s) are still in Kamailio's memory")
