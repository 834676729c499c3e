"""The list as CSV: the whole filtered set, quoted by RFC 4180, and no formulas."""

from __future__ import annotations

import csv
import io

import pytest
from flask.testing import FlaskClient

from api.export import defused
from sql.registrations.model import KEYS
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding

PATH = "/v2/accounts/child/registrations"


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_is_the_whole_filtered_set(http: FlaskClient, directory: Directory, add_binding: AddBinding) -> None:
    """By Accept or by ?accept=csv, with a header line of all keys; paging does not cut it."""
    for number in range(5):
        add_binding(f"phone{number}", "child.test", user_agent='Say "hi", phone' if number else "Other")
    token = {"X-Auth-Token": directory.tokens["child"]}
    by_header = http.get(PATH, headers={**token, "Accept": "text/csv"})
    by_query = http.get(f"{PATH}?accept=csv&page_size=2", headers=token)
    filtered = http.get(f"{PATH}?accept=csv&filter_user_agent=Other", headers=token)
    assert by_header.headers["Content-Type"] == by_query.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert by_header.text == by_query.text
    rows = _rows(by_header.text)
    assert [row["username"] for row in rows] == ["phone4", "phone3", "phone2", "phone1", "phone0"]
    assert rows[0].keys() == KEYS
    assert rows[0]["user_agent"] == 'Say "hi", phone'
    assert rows[0]["suppress_unregister_notify"] == "true"
    assert rows[0]["owner_id"] == rows[0]["proxy_path"] == ""
    assert by_header.text.endswith("\r\n")
    assert [row["username"] for row in _rows(filtered.text)] == ["phone0"]


def test_an_empty_set_is_the_header_line(http: FlaskClient, directory: Directory) -> None:
    """A spreadsheet shows the columns all the same. The short name of the type has any case, as in the body."""
    response = http.get(f"{PATH}?accept=CSV", headers={"X-Auth-Token": directory.tokens["child"]})
    assert response.text == ",".join(sorted(KEYS)) + "\r\n"


# A text, and its cell. Excel, LibreOffice and Google Sheets differ; what one of them calculates is defused.
CELLS = {
    '=HYPERLINK("http://evil")': '\'=HYPERLINK("http://evil")',
    "=1": "'=1",
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "@SUM(A1)": "'@SUM(A1)",  # Excel takes Lotus' way to call a function
    "@realm": "'@realm",  # a name, which is looked up
    "+1+1": "'+1+1",
    "+49-30-1234": "'+49-30-1234",  # as people write telephone numbers; it is a subtraction
    "+49/30": "'+49/30",
    "+49 30 1234": "'+49 30 1234",  # a blank is Excel's intersection
    "+A1": "'+A1",
    "+49\n=1": "+49\n'=1",
    "-1+2": "'-1+2",
    "-agent": "'-agent",
    "--1": "'--1",
    "\uff1d1+1": "'\uff1d1+1",  # full-width marks count in East Asian locales
    "\uff0b1": "'\uff0b1",
    "\uff0d1+1": "'\uff0d1+1",
    "\uff20SUM(A1)": "'\uff20SUM(A1)",
    "\t=1": "'\t=1",  # leading white space goes in an import
    "\r=1": "'\r=1",
    "\n=1": "'\n=1",
    " \t +1+1": "' \t +1+1",
    "x;=1": "x;'=1",  # where the semicolon separates cells, as for Excel in German
    "x\t@A1": "x\t'@A1",
    'x\r\n=1;"': "x\r\n'=1;\"",  # there the quotes within a line are text, and the line ends
    "x;+1+1;+1;-A1": "x;'+1+1;+1;'-A1",
    # Nothing to calculate:
    "+493012345678": "+493012345678",
    "-5": "-5",
    "\t+4930": "\t+4930",
    "x;+4930": "x;+4930",
    "+": "+",
    "-": "-",
    "'=1": "'=1",
    '"=1"': '"=1"',
    "1+1": "1+1",
    "1=1": "1=1",
    "a@b": "a@b",
    "x; =1": "x; =1",
    "x, =1": "x, =1",
    "*97": "*97",
    "#31#": "#31#",
    "00493012345678": "00493012345678",
    "\tplain": "\tplain",
}


def test_what_a_spreadsheet_would_calculate_is_text() -> None:
    """And nothing else is changed, so that a telephone number joins with those of other tables."""
    assert dict(zip(CELLS, defused(list(CELLS)), strict=True)) == CELLS
    for text, cell in CELLS.items():
        assert defused([text]) == [cell]


@pytest.mark.parametrize(("text", "cell"), [("+493012345678", "+493012345678"), ("=1", "'=1"), ("x;=1", "x;'=1")])
def test_it_goes_for_every_column(
    http: FlaskClient, directory: Directory, add_binding: AddBinding, text: str, cell: str
) -> None:
    """What a phone says of itself, and its username."""
    add_binding(text, "child.test", user_agent=text)
    response = http.get(f"{PATH}?accept=csv", headers={"X-Auth-Token": directory.tokens["child"]})
    (row,) = _rows(response.text)
    assert (row["username"], row["to_user"], row["user_agent"]) == (cell, cell, cell)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("phones.csv", "phones.csv"),
        ("../../etc/passwd", "etc_passwd"),
        ('a"; x="b', "a_x_b"),
        ("", "registrations.csv"),
    ],
)
def test_the_file_name_is_the_clients_if_it_is_sane(
    http: FlaskClient, directory: Directory, asked: str, name: str
) -> None:
    """X-File-Name or file_name; nothing of it can break the header or leave a directory."""
    token = {"X-Auth-Token": directory.tokens["child"]}
    by_query = http.get(PATH, query_string={"accept": "csv", "file_name": asked}, headers=token)
    by_header = http.get(f"{PATH}?accept=csv", headers={**token, "X-File-Name": asked})
    for response in (by_query, by_header):
        assert response.headers["Content-Disposition"] == f"attachment; filename={name}"


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        (PATH, "application/json", 200),
        (PATH, "*/*", 200),
        (PATH, "application/json;charset=utf-8", 200),
        (PATH, "text/html,application/xhtml+xml,*/*;q=0.8", 200),
        (PATH, "text/csv;q=0.5, application/json", 200),
        # Java's HttpURLConnection sends this by itself; Cowboy reads "*" as "*/*", and ".2".
        (PATH, "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", 200),
        (PATH, "text/html, */*; q=.2", 200),
        (PATH, "text/csv; q=.5, application/json; q=.6", 200),
        (PATH, "*", 200),
        (PATH, "application/json;q=.0", 406),
        (PATH, "image/png", 406),
        (f"{PATH}/count", "text/csv", 406),
        (f"{PATH}/count?accept=csv", "*/*", 406),
    ],
)
def test_the_format_is_negotiated(http: FlaskClient, directory: Directory, path: str, accept: str, status: int) -> None:
    """JSON unless CSV is preferred; what the endpoint does not have is a 406 in the envelope."""
    response = http.get(path, headers={"X-Auth-Token": directory.tokens["child"], "Accept": accept})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    if status == 406:
        assert (response.get_json()["message"], response.get_json()["data"]) == (
            "not_acceptable",
            {"message": "not acceptable"},
        )
