"""/v2/accounts/{ACCOUNT_ID}/registrations: list, count and flush (Crossbar: cb_registrations.erl)."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app

from api.envelope import list_envelope, success_envelope
from api.errors import UnknownUsername
from api.export import csv_response
from api.extensions import database, proxy
from api.flush import flush
from api.formats import offers_csv, wanted_format
from api.listing import ListQuery, read_query, write_start_key
from sql.flushing import find_bindings, find_device_aors
from sql.registrations import KEYS, Registration, count_registrations, list_registrations

ORDERED_KEYS = sorted(KEYS)

blueprint = Blueprint("registrations", __name__)


def _as_object(registration: Registration) -> dict[str, Any]:
    """What is None is left out, never null: only Kazoo's undocumented extras can be."""
    values = ((key, getattr(registration, key)) for key in ORDERED_KEYS)
    return {key: value for key, value in values if value is not None}


class _Page:
    """Passes the first ``size`` registrations on, as objects, and keeps the key of what comes after them."""

    def __init__(self, registrations: Iterator[Registration], size: int | None) -> None:
        self._registrations = registrations
        self._size = size
        self.count = 0
        self.next_start_key: str | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for registration in self._registrations:
            if self.count == self._size:
                self.next_start_key = write_start_key(registration.position)
                return
            self.count += 1
            yield _as_object(registration)


@blueprint.get("")
@offers_csv
def list_all(account_id: str) -> Response:
    """The bindings of the account that are registered now, newest first; a page of them where one is asked for."""
    settings = current_app.config
    query = read_query(default_page_size=settings["PAGE_SIZE"], max_page_size=settings["MAX_PAGE_SIZE"])
    as_csv = wanted_format() == "csv"
    size = None if as_csv else query.page_size
    with (
        database().connection() as connection,
        closing(
            list_registrations(
                connection,
                account_id,
                conditions=query.conditions,
                ascending=query.ascending,
                start=None if as_csv else query.start,
                limit=0 if query.nothing else None if size is None else size + 1,
            )
        ) as registrations,
    ):
        page = _Page(registrations, size)
        return csv_response(page) if as_csv else list_envelope(page, extra=lambda: _paging(page, query))


def _paging(page: _Page, query: ListQuery) -> dict[str, Any]:
    if query.page_size is None:
        return {}
    paging: dict[str, Any] = {"page_size": page.count}
    if query.start is not None:
        paging["start_key"] = write_start_key(query.start)
    if page.next_start_key is not None:
        paging["next_start_key"] = page.next_start_key
    return paging


@blueprint.get("/count")
def count(account_id: str) -> Response:
    """How many bindings the list has."""
    with database().connection() as connection:
        return success_envelope({"count": count_registrations(connection, account_id)})


@blueprint.delete("")
def flush_all(account_id: str) -> Response:
    """Remove every binding of the account from Kamailio; phones come back at their next refresh."""
    with database().connection() as connection:
        bindings = find_bindings(connection, account_id)
    done = flush(proxy(), database(), bindings=bindings)
    return success_envelope("ok", **asdict(done))


@blueprint.delete("/<username:username>")
def flush_one(account_id: str, username: str) -> Response:
    """Remove every binding of one SIP username, in any case, from Kamailio."""
    if "\0" in username:
        raise UnknownUsername(username)
    with database().connection() as connection:
        bindings = find_bindings(connection, account_id, username)
        devices = find_device_aors(connection, account_id, username)
    if not bindings and not devices:
        raise UnknownUsername(username)
    done = flush(proxy(), database(), bindings=bindings, devices=devices)
    return success_envelope("ok", **asdict(done))
