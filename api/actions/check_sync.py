"""Sends NOTIFY check-sync to phones through the nodes that hold their bindings; devices and flushes use it."""

import logging
from collections.abc import Sequence

from kamailio.errors import KamailioError
from kamailio.nodes import Nodes
from kamailio.notify import Target, check_sync
from kamailio.rpc import JsonRpcClient
from sql.registrations.contacts import DeviceContact

log = logging.getLogger(__name__)


def send_check_sync(proxy: Nodes, contacts: Sequence[DeviceContact], *, reboot: bool, budget: float) -> int:
    """Have Kamailio send each contact a NOTIFY, from the node that has its socket or, if that is unknown, from all.

    Args:
        proxy: all nodes.
        contacts: where the phones are.
        reboot: whether the phones are asked to reboot.
        budget: seconds for the calls; nobody waits for a phone's answer.

    Returns:
        The number of contacts that no node accepted; the log says why.

    Raises:
        KamailioError: no node could be reached.
    """
    at_node: dict[int, list[int]] = {}
    for index, contact in enumerate(contacts):
        own = contact.server_id if contact.server_id in proxy.ids else None
        for node in (own,) if own is not None else proxy.ids:
            at_node.setdefault(node, []).append(index)

    def at(node: int, client: JsonRpcClient) -> list[KamailioError | None]:
        targets = [_target(contacts[index]) for index in at_node[node]]
        return check_sync(client, targets, reboot=reboot, budget=budget, edges=proxy.edges)

    answers = proxy.on_each(at_node, at)
    refusals = [answer for answer in answers.values() if isinstance(answer, KamailioError)]
    if refusals and len(refusals) == len(answers):
        raise refusals[0]
    errors: dict[int, KamailioError] = {}
    sent: set[int] = set()
    for node, outcomes in answers.items():
        each = [outcomes] * len(at_node[node]) if isinstance(outcomes, KamailioError) else outcomes
        for index, error in zip(at_node[node], each, strict=True):
            if error is None:
                sent.add(index)
            else:
                errors[index] = error
    failed = errors.keys() - sent
    for index in sorted(failed):
        contact = contacts[index]
        facts = {"username": contact.username, "realm": contact.domain, "cause": str(errors[index])}
        log.warning("check-sync not sent to a contact", extra={"action": "sync", **facts})
    return len(failed)


def _target(contact: DeviceContact) -> Target:
    return Target(
        username=contact.username,
        domain=contact.domain,
        contact=contact.contact,
        received=contact.received,
        path=contact.path,
        source=contact.source,
        socket=contact.socket,
    )
