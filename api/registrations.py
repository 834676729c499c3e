"""/v2/accounts/{ACCOUNT_ID}/registrations: list, count and flush (Crossbar: cb_registrations.erl)."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import asdict
from itertools import chain, repeat
from json import JSONEncoder

from flask import Blueprint, Response

from api.access import current_access
from api.actions.removal import flush
from api.envelope import list_envelope, success_envelope
from api.errors import UnknownUsername
from api.export import csv_response
from api.extensions import database, settings
from api.formats import wanted_format
from api.listing import ListQuery, Page, read_flag, read_query
from api.policy import Policy, follows
from sql.connections.database import Database
from sql.registrations.listing import list_registrations
from sql.registrations.model import CELLS, NULLABLE_KEYS, ORDERED_KEYS, TYPES, Listed, count_registrations

_quoted = JSONEncoder(ensure_ascii=False).encode

blueprint = Blueprint("registrations", __name__)


def _pieces(key: str, texts: list[str]) -> list[Iterable[str]]:
    """The text of one key in the object of each registration; empty where the value is null."""
    comma, quote = "," if key != ORDERED_KEYS[0] else "", '"' if TYPES[key] is str else ""
    before = f'{comma}"{key}":{quote}'
    if key in NULLABLE_KEYS and not all(texts):
        return [[before + text + quote if text else "" for text in texts]] if any(texts) else []
    return [repeat(before), texts, repeat(quote)]


def _as_objects(some: Listed) -> str:
    """Their JSON, with commas between the objects.

    Hardly any text has a character that JSON must escape (RFC 8259, 7), so all texts are first checked as one. The
    objects are joined key by key, so that the loops over thousands of registrations run in C.
    """
    cells = some.cells
    together = "".join(cells)
    if len(_quoted(together)) != len(together) + len('""'):
        cells = [_quoted(cell)[1:-1] for cell in cells]
    pieces = [_pieces(key, cells[at::CELLS]) for at, key in enumerate(ORDERED_KEYS)]
    return "{" + "},{".join(map("".join, zip(*chain.from_iterable(pieces), strict=False))) + "}"


def _rows(source: Database, account_id: str, query: ListQuery, *, whole: bool) -> Generator[Listed, None, None]:
    """The rows of the list, and the one after a page; they hold a connection until they are used up or closed."""
    size = None if whole or query.page_size is None else query.page_size + 1
    with (
        source.connection() as connection,
        closing(
            list_registrations(
                connection,
                account_id,
                conditions=query.conditions.each,
                ascending=query.ascending,
                start=None if whole else query.start,
                limit=0 if query.conditions.nothing else size,
            )
        ) as registrations,
    ):
        yield from registrations


@blueprint.get("")
@follows(Policy(has_csv=True))
def list_all(account_id: str) -> Response:
    """The bindings of the account that are registered now, newest first; a page of them where one is asked for."""
    query = read_query(default_page_size=settings().api_page_size, max_page_size=settings().api_max_page_size)
    as_csv = wanted_format() == "csv"
    rows = _rows(database(), account_id, query, whole=as_csv)
    if as_csv:
        cells = (some.cells for some in rows)
        return csv_response(cells, keys=ORDERED_KEYS, name="registrations")
    page = Page(rows, query.page_size, as_objects=_as_objects)
    return list_envelope(page, extra=lambda: page.keys_for(query))


@blueprint.get("/count")
@follows(Policy(counts=True))
def count(account_id: str) -> Response:
    """How many bindings the list has."""
    found = current_access().count
    if found is None:  # the guard does not count for a restricted token, which it may refuse
        with database().connection() as connection:
            found = count_registrations(connection, account_id)
    return success_envelope({"count": found})


@blueprint.delete("")
def flush_all(account_id: str) -> Response:
    """Remove every binding of the account from Kamailio; a phone is unreachable until its next refresh."""
    check_sync = read_flag("check_sync", default=settings().api_flush_check_sync == "always")
    done = flush(account_id, check_sync=check_sync)
    assert done is not None  # noqa: S101  # only a username can be unknown
    return success_envelope("ok", **asdict(done))


@blueprint.delete("/<username:username>")
def flush_one(account_id: str, username: str) -> Response:
    """Remove every binding of one SIP username, in any case, from Kamailio."""
    check_sync = read_flag("check_sync", default=settings().api_flush_check_sync != "never")
    done = None if "\0" in username else flush(account_id, username=username, check_sync=check_sync)
    if done is None:
        raise UnknownUsername(username)
    return success_envelope("ok", **asdict(done))
