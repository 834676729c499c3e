"""A list as CSV (RFC 4180), for people who open it in a spreadsheet."""

import csv
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from io import StringIO
from string import whitespace

from flask import Response, request

from api.spool import respond

# A formula begins with one of these (OWASP, CSV injection). It stands at the start of a cell, perhaps after white
# space, or after what ends a cell in a spreadsheet whose separator is not the comma, such as Excel in German.
MARKS = "=+@\uff1d\uff0b\uff0d\uff20-"
ENDS = ";\t\r\n"
SUSPECT = frozenset(MARKS + whitespace)
INNER = re.compile(f"[{ENDS}][{MARKS}]")
# A sign alone, or with digits alone, is no formula: it is a telephone number, or the lack of one.
FORMULA = re.compile(rf"(?:(\A\s*)|([{ENDS}]))(?=[{MARKS}])(?![+-][0-9]*(?:[{ENDS}]|\Z))", re.ASCII)
UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def defused(cells: list[str]) -> list[str]:
    """The same cells, with an apostrophe before everything that a spreadsheet would calculate."""
    everywhere = INNER.search("\0".join(cells))  # one search in all of them: there is hardly ever a match
    return [FORMULA.sub(r"\2'\1", cell) if everywhere or cell[:1] in SUSPECT else cell for cell in cells]


def _file_name(name: str) -> str:
    asked = request.headers.get("X-File-Name") or request.args.get("file_name") or name
    return UNSAFE_IN_FILE_NAME.sub("_", asked).strip("._")[:100] or name


def csv_response(cells: Generator[list[str], None, None], *, keys: Sequence[str], name: str) -> Response:
    """One line for each object under a header line, in constant memory; what is not known is an empty cell.

    Args:
        cells: of some objects at a time, one object after the other, a text for each key; used up or closed when the
            response is.
        keys: the header line.
        name: of the file, without its extension, unless the client names it.
    """

    def pieces() -> Generator[bytes, None, None]:
        text = StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(keys)
        with closing(cells):
            for some in cells:
                safe = defused(some)
                writer.writerows(safe[at : at + len(keys)] for at in range(0, len(safe), len(keys)))
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        yield text.getvalue().encode()

    response, _ = respond(pieces(), content_type="text/csv; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=_file_name(f"{name}.csv"))
    return response
