"""A list as CSV (RFC 4180), for people who open it in a spreadsheet."""

import csv
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from io import StringIO
from string import whitespace

from flask import Response, request

from api.spool import respond
from sql.registrations.model import CELLS, ORDERED_KEYS, Listed

# A formula begins with one of these (OWASP, CSV injection). It begins a cell, maybe after white space, or follows what
# ends a cell where the spreadsheet takes another separator than the comma, as Excel in German does.
MARKS = "=+@\uff1d\uff0b\uff0d\uff20-"
ENDS = ";\t\r\n"
SUSPECT = frozenset(MARKS + whitespace)
INNER = re.compile(f"[{ENDS}][{MARKS}]")
# A sign with digits alone, or with nothing, is no formula: it is a telephone number, or stands for none.
FORMULA = re.compile(rf"(?:(\A\s*)|([{ENDS}]))(?=[{MARKS}])(?![+-][0-9]*(?:[{ENDS}]|\Z))", re.ASCII)
UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def defused(cells: list[str]) -> list[str]:
    """The same cells, with an apostrophe before whatever a spreadsheet would calculate."""
    everywhere = INNER.search("\0".join(cells))  # one look at all of them: there is hardly ever any
    return [FORMULA.sub(r"\2'\1", cell) if everywhere or cell[:1] in SUSPECT else cell for cell in cells]


def _lines(some: Listed) -> Iterator[list[str]]:
    cells = defused(some.cells)
    return (cells[at : at + CELLS] for at in range(0, len(cells), CELLS))


def _file_name() -> str:
    asked = request.headers.get("X-File-Name") or request.args.get("file_name") or "registrations.csv"
    return UNSAFE_IN_FILE_NAME.sub("_", asked).strip("._")[:100] or "registrations.csv"


def csv_response(rows: Generator[Listed, None, None]) -> Response:
    """One line a registration under a header line, in constant memory; what is not known is an empty cell.

    Args:
        rows: some at a time; used up or closed when the response is.
    """

    def pieces() -> Generator[bytes, None, None]:
        text = StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(ORDERED_KEYS)
        with closing(rows):
            for some in rows:
                writer.writerows(_lines(some))
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        yield text.getvalue().encode()

    response, _ = respond(pieces(), content_type="text/csv; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=_file_name())
    return response
