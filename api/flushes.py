"""/v2/accounts/{ACCOUNT_ID}/registrations/flushes: the state of flushes; ours, Crossbar has no such thing.

An error may contain a URL or a path, and a command the name of its user. Only a superduper admin sees these; others get
one word.
"""

import json
from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from flask import Blueprint, Response

from api.access import current_access
from api.envelope import list_envelope, success_envelope
from api.errors import BadIdentifier
from api.extensions import database, settings
from api.listing import Batch, ListQuery, Page, read_query
from sql.connections.database import Database
from sql.flushes.records import FlushRecord, list_flushes

UNIX_TO_GREGORIAN = 62167219200
FLUSHES_AT_A_TIME = 100

blueprint = Blueprint("flushes", __name__)


def _gregorian(at: datetime | int | None) -> int | None:
    if at is None:
        return None
    return int(at.timestamp() if isinstance(at, datetime) else at) + UNIX_TO_GREGORIAN


def _node(node: dict[str, Any], *, inside: bool) -> dict[str, Any]:
    error = node["error"]
    facts = {
        "server_id": node["node"],
        "node": node["name"],
        "attempts": node["attempts"],
        "attempted": _gregorian(node["attempted"]),
        "confirmed": _gregorian(node["confirmed"]),
        "error": error if inside or error is None else error.partition(":")[0],
    }
    return {key: value for key, value in facts.items() if value is not None}


def _as_data(flush: FlushRecord, *, inside: bool) -> dict[str, Any]:
    """The record as a client sees it, without the keys that have no value, as in a registration.

    Args:
        flush: the record.
        inside: whether the client may see names of the operator's machines and users.
    """
    facts = {
        "id": flush.id,
        "username": flush.username,
        "cause": flush.cause,
        "requested_by": flush.requested_by if inside or flush.cause != "command" else "operator",
        "request_id": flush.request_id,
        "requested": _gregorian(flush.requested_at),
        "finished": _gregorian(flush.finished_at),
        "bindings": flush.bindings,
        "flushed": flush.bindings - flush.pending_shown - flush.superseded,
        "pending": flush.pending,
        "superseded": flush.superseded,
        "nodes": [_node(node, inside=inside) for node in flush.nodes],
    }
    return {key: value for key, value in facts.items() if value is not None}


def _as_objects(some: Batch[FlushRecord], *, inside: bool) -> str:
    return ",".join(json.dumps(_as_data(flush, inside=inside), separators=(",", ":")) for flush in some.objects)


def _rows(source: Database, account_id: str, query: ListQuery) -> Generator[Batch[FlushRecord], None, None]:
    limit = None if query.page_size is None else query.page_size + 1
    with (
        source.connection() as connection,
        closing(
            list_flushes(connection, account_id, ascending=query.ascending, start=query.start, limit=limit)
        ) as flushes,
    ):
        while few := list(islice(flushes, FLUSHES_AT_A_TIME)):
            yield Batch([flush.position for flush in few], few)


@blueprint.get("")
def list_all(account_id: str) -> Response:
    """The flushes of the account, newest first by default, all or a page. There are no filters."""
    query = read_query(default_page_size=settings().api_page_size, max_page_size=settings().api_max_page_size)
    as_objects = partial(_as_objects, inside=current_access().superduper_admin)
    page = Page(_rows(database(), account_id, query), query.page_size, as_objects=as_objects)
    return list_envelope(page, extra=lambda: page.keys_for(query))


@blueprint.get("/<flush_id>")
def show(account_id: str, flush_id: str) -> Response:
    """One flush: who asked for it and when, and what each node has confirmed."""
    if "\0" in flush_id:
        raise BadIdentifier(flush_id)
    with (
        database().connection() as connection,
        closing(list_flushes(connection, account_id, flush_id=flush_id)) as flushes,
    ):
        found = next(flushes, None)
    if found is None:
        raise BadIdentifier(flush_id)
    return success_envelope(_as_data(found, inside=current_access().superduper_admin))
