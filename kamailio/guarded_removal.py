"""Removal of single bindings from a node's memory, each only if it has not registered again.

Owns the two methods. The command `registrations.rm` of registrations.cfg compares and removes in one step. If a node
does not serve it, this module looks the binding up, compares, and calls `ul.rm_contact`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from kamailio.bindings import Doomed, Outcome, is_old, look_up, seconds_left
from kamailio.errors import NOT_SERVED, ContactNotMatched, KamailioError, RpcError, UnnamedError
from kamailio.rpc import Call, JsonRpcClient
from kamailio.usrloc import Contact, aor, lookup, rm, rm_contact

COMMAND = "registrations.rm"
NOT_THERE, NEWER_THERE = 404, 409
# Messages of registrations.cfg and of usrloc. A 404 with another message does not mean that the binding is gone.
SAYS_NOT_THERE = frozenset({"Not There", "AOR not found", "Contact not found"})

# Under use_domain=0 usrloc ignores the host, but a URI must have one.
NO_HOST = "registrations.invalid"
_ASCII = re.compile(r"[\x00-\x7f]+")


def remove_guarded(
    client: JsonRpcClient, wanted: Sequence[tuple[Doomed, str]], *, deadline: float
) -> list[Outcome | KamailioError]:
    """Remove bindings that have not registered again.

    Args:
        client: of one node.
        wanted: bindings with their ruids.
        deadline: of `time.monotonic`.

    Returns:
        In the order of ``wanted``: GONE, NEWER, or the error that leaves both open.
    """
    calls = [Call(COMMAND, (_parameter(each, ruid),)) for each, ruid in wanted]
    if not calls:
        return []
    if not client.url.startswith("http:"):  # registrations.cfg serves the command over HTTP only
        return _compare_and_remove(client, wanted, deadline=deadline)
    results = client.call_many(calls, budget=seconds_left(client, deadline))
    if any(isinstance(result, RpcError) and result.message in NOT_SERVED for result in results):
        return _compare_and_remove(client, wanted, deadline=deadline)
    return [_outcome(result) for result in results]


def _outcome(result: object | RpcError) -> Outcome | KamailioError:
    if not isinstance(result, RpcError) or _is_not_there(result):
        return Outcome.GONE
    return Outcome.NEWER if result.code == NEWER_THERE else result


def _is_not_there(error: RpcError) -> bool:
    return error.code == NOT_THERE and error.message in SAYS_NOT_THERE and not isinstance(error, UnnamedError)


def _compare_and_remove(
    client: JsonRpcClient, wanted: Sequence[tuple[Doomed, str]], *, deadline: float
) -> list[Outcome | KamailioError]:
    names = [aor(each.username, each.domain) for each, _ in wanted]
    found = look_up(client, [each for each, _ in wanted], deadline=deadline)
    outcomes: list[Outcome | KamailioError] = []
    for name, (each, ruid), contacts in zip(names, wanted, found, strict=True):
        if isinstance(contacts, RpcError):
            outcomes.append(contacts)
            continue
        contact = _with_ruid(contacts, ruid)
        if contact is None:
            outcomes.append(Outcome.GONE)
        elif not is_old(contact, each):
            outcomes.append(Outcome.NEWER)
        else:
            seconds_left(client, deadline)
            outcomes.append(_forget(client, name, contact))
    return _remove_unmatched(client, names, found, wanted, outcomes)


def _remove_unmatched(
    client: JsonRpcClient,
    names: Sequence[str],
    found: Sequence[Iterable[Contact] | RpcError],
    wanted: Sequence[tuple[Doomed, str]],
    outcomes: list[Outcome | KamailioError],
) -> list[Outcome | KamailioError]:
    """If `ul.rm_contact` matches no contact, remove the whole AoR, provided that every binding of it is to go."""
    unmatched: dict[str, list[int]] = {}
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, ContactNotMatched):
            unmatched.setdefault(names[index], []).append(index)
    for name, indexes in unmatched.items():
        ruids = {wanted[index][1] for index in indexes}
        old = {_registration(one) for one in found[indexes[0]] if one.ruid in ruids}  # type: ignore[union-attr]
        try:
            if not all(_registration(one) in old for one in lookup(client, name)):
                continue
            rm(client, name)
        except RpcError as error:
            outcome = error
        else:
            outcome = Outcome.GONE
        for index in indexes:
            outcomes[index] = outcome
    return outcomes


def _registration(contact: Contact) -> tuple[object, ...]:
    return contact.ruid, contact.last_modified, contact.cseq, contact.call_id


def _with_ruid(contacts: Iterable[Contact], ruid: str) -> Contact | None:
    return next((contact for contact in contacts if contact.ruid == ruid), None)


def _forget(client: JsonRpcClient, name: str, contact: Contact) -> Outcome | KamailioError:
    try:
        rm_contact(client, name, contact.address)
    except RpcError as error:
        if not _is_not_there(error):
            return error
        try:
            left = lookup(client, name)
        except RpcError as unseen:
            return unseen
        return ContactNotMatched() if _with_ruid(left, contact.ruid) else Outcome.GONE
    return Outcome.GONE


def _parameter(doomed: Doomed, ruid: str) -> str:
    """Return the argument of the command; see route[REGISTRATIONS_RM] in registrations.cfg."""
    bound = (str(doomed.modified_epoch), str(doomed.cseq), _hex(doomed.call_id or ""))
    return "|".join(("", _hex(_uri(doomed)), _hex(ruid), *bound, ""))


def _uri(doomed: Doomed) -> str:
    user, host = doomed.username, doomed.domain or NO_HOST
    # Kamailio accepts a raw byte that is not ASCII, and refuses an escaped one.
    return f"sip:{_ASCII.sub(lambda found: quote(found[0], safe=''), user)}@{host}" if user else f"sip:{host}"


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").hex()
