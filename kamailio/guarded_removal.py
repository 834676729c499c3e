"""Removal of single bindings from a node's memory, each only if it has not registered again.

Owns the two methods. The command `registrations.rm` of registrations.cfg compares and removes in one step. If a node
does not serve it, this module looks the binding up, compares, and calls `ul.rm_contact`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from urllib.parse import quote

from kamailio.bindings import Doomed, Outcome, is_old, look_up, seconds_left
from kamailio.errors import NOT_SERVED, ContactNotMatched, KamailioError, RpcError, UnnamedError
from kamailio.rpc import Call, JsonRpcClient
from kamailio.usrloc import TABLE, Contact, aor, lookup

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
    found = look_up(client, [each for each, _ in wanted], deadline=deadline)
    old: dict[str, set[Contact]] = {}
    seen: list[tuple[str, Contact] | Outcome | RpcError] = []
    for (each, ruid), contacts in zip(wanted, found, strict=True):
        if isinstance(contacts, RpcError):
            seen.append(contacts)
        elif (contact := _with_ruid(contacts, ruid)) is None:
            seen.append(Outcome.GONE)
        elif not is_old(contact, each):
            seen.append(Outcome.NEWER)
        else:
            name = aor(each.username, each.domain)
            old.setdefault(name, set()).add(contact)
            seen.append((name, contact))
    outcomes: list[Outcome | KamailioError] = []
    for one in seen:
        if isinstance(one, tuple):
            seconds_left(client, deadline)
            outcomes.append(_forget(client, *one, old=old[one[0]]))
        else:
            outcomes.append(one)
    return outcomes


def _with_ruid(contacts: Iterable[Contact], ruid: str) -> Contact | None:
    return next((contact for contact in contacts if contact.ruid == ruid), None)


def _forget(client: JsonRpcClient, name: str, contact: Contact, *, old: Set[Contact]) -> Outcome | KamailioError:
    """Remove one contact. If `ul.rm_contact` cannot match it, remove the whole AoR if nothing but `old` is there."""
    try:
        client.call("ul.rm_contact", TABLE, name, contact.address)  # needs usrloc's matching_mode 0
    except RpcError as error:
        if not _is_not_there(error):
            return error
        try:
            left = lookup(client, name)
            if _with_ruid(left, contact.ruid) is None:
                return Outcome.GONE
            if not old >= set(left):
                return ContactNotMatched()
            client.call("ul.rm", TABLE, name)
        except RpcError as refusal:
            return refusal
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
