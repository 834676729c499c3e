"""/v2/accounts/{ACCOUNT_ID}/registrations: list, count and flush (Crossbar: cb_registrations.erl)."""

from contextlib import closing
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app

from api.envelope import list_envelope, success_envelope
from api.errors import UnknownUsername
from api.export import csv_response
from api.extensions import database
from api.flush import flush
from api.formats import offers_csv, wanted_format
from api.listing import Page, read_flag, read_query
from sql.registrations import KEYS, Registration, count_registrations, list_registrations

ORDERED_KEYS = sorted(KEYS)

blueprint = Blueprint("registrations", __name__)


def _as_object(registration: Registration) -> dict[str, Any]:
    """What is None is left out, never null: only Kazoo's undocumented extras can be."""
    values = ((key, getattr(registration, key)) for key in ORDERED_KEYS)
    return {key: value for key, value in values if value is not None}


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
        page = Page(registrations, size, as_object=_as_object)
        return csv_response(page) if as_csv else list_envelope(page, extra=lambda: page.keys_for(query))


@blueprint.get("/count")
def count(account_id: str) -> Response:
    """How many bindings the list has."""
    with database().connection() as connection:
        return success_envelope({"count": count_registrations(connection, account_id)})


@blueprint.delete("")
def flush_all(account_id: str) -> Response:
    """Remove every binding of the account from Kamailio; phones come back at their next refresh."""
    check_sync = read_flag("check_sync", default=current_app.config["FLUSH_CHECK_SYNC"] == "always")
    done = flush(account_id, check_sync=check_sync)
    assert done is not None  # noqa: S101  # only a username can be unknown
    return success_envelope("ok", **asdict(done))


@blueprint.delete("/<username:username>")
def flush_one(account_id: str, username: str) -> Response:
    """Remove every binding of one SIP username, in any case, from Kamailio."""
    check_sync = read_flag("check_sync", default=current_app.config["FLUSH_CHECK_SYNC"] != "never")
    done = None if "\0" in username else flush(account_id, username=username, check_sync=check_sync)
    if done is None:
        raise UnknownUsername(username)
    return success_envelope("ok", **asdict(done))
