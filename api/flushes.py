"""/v2/accounts/{ACCOUNT_ID}/registrations/flushes: what became of flushes; ours, Crossbar has no such thing.

Errors name URLs and paths, and a command the user of a shell. Only a superduper admin is told; others get a word.
"""

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Self

from flask import Blueprint, Response, current_app

from api.access import current_access
from api.envelope import list_envelope, success_envelope
from api.errors import UnknownFlush
from api.extensions import database
from api.listing import ListQuery, Page, read_query
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
    """What is not known, or not so, is left out, as in a registration.

    Args:
        flush: the record.
        inside: whether the client may know what only the operator's machines are called.
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


@dataclass(frozen=True)
class _Some:
    flushes: list[FlushRecord]

    @property
    def positions(self) -> list[int]:
        return [flush.position for flush in self.flushes]

    def first(self, count: int) -> Self:
        return replace(self, flushes=self.flushes[:count])


def _as_objects(some: _Some, *, inside: bool) -> str:
    return ",".join(json.dumps(_as_data(flush, inside=inside), separators=(",", ":")) for flush in some.flushes)


def _rows(source: Database, account_id: str, query: ListQuery) -> Generator[_Some, None, None]:
    limit = None if query.page_size is None else query.page_size + 1
    with (
        source.connection() as connection,
        closing(
            list_flushes(connection, account_id, ascending=query.ascending, start=query.start, limit=limit)
        ) as flushes,
    ):
        while few := list(islice(flushes, FLUSHES_AT_A_TIME)):
            yield _Some(few)


@blueprint.get("")
def list_all(account_id: str) -> Response:
    """The flushes of the account, newest first unless asked otherwise, all or a page. There are no filters."""
    settings = current_app.config
    query = read_query(default_page_size=settings["PAGE_SIZE"], max_page_size=settings["MAX_PAGE_SIZE"])
    as_objects = partial(_as_objects, inside=current_access().superduper_admin)
    page = Page(_rows(database(), account_id, query), query.page_size, as_objects=as_objects)
    return list_envelope(page, extra=lambda: page.keys_for(query))


@blueprint.get("/<flush_id>")
def show(account_id: str, flush_id: str) -> Response:
    """One flush: who asked for it and when, and how far each node has come."""
    if "\0" in flush_id:
        raise UnknownFlush(flush_id)
    with (
        database().connection() as connection,
        closing(list_flushes(connection, account_id, flush_id=flush_id)) as flushes,
    ):
        found = next(flushes, None)
    if found is None:
        raise UnknownFlush(flush_id)
    return success_envelope(_as_data(found, inside=current_access().superduper_admin))
