"""A list as CSV (RFC 4180), for people who open it in a spreadsheet."""

import csv
import re
from collections.abc import Iterable
from typing import Any

from flask import Response, request

from api.spool import Spool
from sql.registrations import KEYS

COLUMNS = sorted(KEYS)
# A cell that begins so is a formula to a spreadsheet; an apostrophe makes it text (OWASP, CSV injection).
FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "" if value is None else str(value)
    return f"'{text}" if FORMULA.match(text) else text


def _file_name() -> str:
    asked = request.headers.get("X-File-Name") or request.args.get("file_name") or "registrations.csv"
    return UNSAFE_IN_FILE_NAME.sub("_", asked).strip("._")[:100] or "registrations.csv"


def csv_response(rows: Iterable[dict[str, Any]]) -> Response:
    """One line a registration under a header line, in constant memory; what is not known is an empty cell.

    Args:
        rows: registration objects.
    """
    with Spool() as body:
        writer = csv.writer(body)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([_cell(row.get(column)) for column in COLUMNS])
    response = body.respond(content_type="text/csv; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=_file_name())
    return response
