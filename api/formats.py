"""Which format a client wants: JSON, or CSV where the endpoint has it (RFC 9110, 12.5.1)."""

import re
from typing import Literal

from flask import g, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from api.errors import InvalidData, NotAcceptable
from api.policy import current_policy

Format = Literal["json", "csv"]
MEDIA_TYPES: dict[str, Format] = {"application/json": "json", "text/csv": "csv"}
BARE_POINT = re.compile(r"(;\s*q=)(?=\.)", re.IGNORECASE)


def wanted_format() -> Format:
    """The format of the answer to this request."""
    chosen: Format = g.format
    return chosen


def _accepted() -> MIMEAccept:
    """The media types of the header Accept, without parameters such as charset, which clients add to no effect.

    Java's HttpURLConnection sends ``text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2``. Crossbar's server, Cowboy,
    reads ``*`` as ``*/*`` and ``.2`` as a quality; so does this.
    """
    header = BARE_POINT.sub(r"\g<1>0", request.headers.get("Accept", ""))
    types = ((media.partition(";")[0].strip(), quality) for media, quality in parse_accept_header(header, MIMEAccept))
    return MIMEAccept(("*/*" if media == "*" else media, quality) for media, quality in types)


def negotiate() -> None:
    """Choose the format: ``?accept=``, Crossbar's way to say it in a link, then the header, then JSON."""
    g.format = "json"
    policy = current_policy()
    if request.url_rule is None or policy.has_own_type:
        return
    asked = request.args.get("accept")  # `tunnel` has put it into the header
    if asked is not None and asked.lower() not in {*MEDIA_TYPES, *MEDIA_TYPES.values()}:
        raise InvalidData("accept", "enum", "Value is not json or csv")
    offered = [media for media, name in MEDIA_TYPES.items() if name == "json" or policy.has_csv]
    if accepted := _accepted():
        best = accepted.best_match(offered)
        if best is None:
            raise NotAcceptable
        g.format = MEDIA_TYPES[best]
