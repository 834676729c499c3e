"""Reading the files of an import: what they may hold, and where it is said to be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sql.directory.columns import KINDS, Account, Device, Owner, Row, read_row
from sql.directory.files import DirectoryFiles
from sql.directory.problems import SHOWN_PROBLEMS, Problems
from sql.errors import DirectoryRefused

Content = str | bytes | dict[str, Any]
Rows = tuple[list[Account], list[Owner], list[Device]]
Read = Callable[..., Rows]

ACCOUNTS = "id,name,realm\n"
DEVICES = "id,account_id,sip_username\n"
OWNERS = "id,account_id,name\n"


def rows_of(*paths: str) -> Rows:
    """Read files of the working directory; raises what is wrong with them."""
    problems = Problems()
    rows: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    with DirectoryFiles(paths, problems) as directory:
        problems.refuse_any()
        for kind, model in KINDS.items():
            for number, values in directory.rows(kind):
                rows[kind].append(_row(model, values, directory, number, problems))
    problems.refuse_any()
    return rows["account"], rows["owner"], rows["device"]


def _row(model: type[Row], values: Any, directory: DirectoryFiles, number: int, problems: Problems) -> Row:
    def fault(field: str, message: str) -> None:
        problems.of_row(directory.sources[model.kind], number, message, field=field)

    return read_row(model, values, fault=fault)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Write files of these names and contents, CSV or (for a dict) JSON, and read them all."""
    monkeypatch.chdir(tmp_path)

    def read(**contents: Content) -> Rows:
        paths = []
        for name, content in contents.items():
            file = Path(f"{name}.json" if isinstance(content, dict) else f"{name}.csv")
            text = json.dumps(content) if isinstance(content, dict) else content
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            paths.append(str(file))
        return rows_of(*paths)

    return read


def refusal(read: Read, **contents: Content) -> list[str]:
    with pytest.raises(DirectoryRefused) as caught:
        read(**contents)
    return caught.value.problems


def json_refusal(directory: Path, text: str | bytes) -> list[str]:
    file = directory / "d.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DirectoryRefused) as caught:
        rows_of(str(file))
    return [line.replace(str(file), "d.json") for line in caught.value.problems]


def device_refusal(tmp_path: Path, field: str, value: str) -> list[str]:
    """Refusal of the second device, which has this value, written in JSON."""
    good = '{"id": "d0", "account_id": "a", "sip_username": "ann"}'
    fields = {"id": '"d1"', "account_id": '"a"', "sip_username": '"bob"', field: value}
    text = ", ".join(f'"{key}": {text}' for key, text in fields.items())
    return json_refusal(tmp_path, f'{{"devices": [{good}, {{{text}}}]}}')


def test_the_header_and_not_the_name_or_the_order_tells_what_a_csv_holds(read: Read) -> None:
    """Accounts, owners and devices are told apart by their columns, which come in any order."""
    accounts, owners, devices = read(
        one="sip_username,id,account_id\nbob,d1,a1\n",
        two="realm,name,id\na.example,Acme,a1\n",
        three="account_id,id\na1,o1\n",
    )
    assert [each.realm for each in accounts] == ["a.example"]
    assert [(each.id, each.account_id) for each in owners] == [("o1", "a1")]
    assert [(each.id, each.sip_username) for each in devices] == [("d1", "bob")]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_csv_may_have_a_byte_order_mark_and_either_line_end(read: Read, start: bytes, newline: bytes) -> None:
    """What Excel writes and what Unix writes reads the same, blank lines and a missing last line end included."""
    lines = ["id,name,realm", '"a1","Ac""me, Ltd\u00e9",A.Example', "", "a2,B,b.example"]
    accounts, _, _ = read(accounts=start + newline.join(line.encode() for line in lines))
    assert [(each.id, each.name, each.realm) for each in accounts] == [
        ("a1", 'Ac"me, Ltd\u00e9', "a.example"),
        ("a2", "B", "b.example"),
    ]


def test_a_row_over_several_lines_is_at_the_line_that_it_begins_on(read: Read) -> None:
    """An editor's cursor lands on the row, also behind one with line breaks in a cell, and behind blank lines."""
    text = 'name,id,realm\n"two\nlines",a/1,a.example\n\nB,a2,b c\n'
    assert refusal(read, accounts=text) == [
        "accounts.csv line 2: id: a slash is not allowed",
        "accounts.csv line 5: realm: a realm has neither spaces nor @",
    ]


@pytest.mark.parametrize(
    ("text", "flag"),
    [("true", True), ("YES", True), ("1", True), ("false", False), ("no", False), ("0", False), ("", None)],
)
def test_csv_flags_are_words(read: Read, text: str, flag: bool | None) -> None:
    """true, yes, 1 and false, no, 0 are understood in any case; an empty cell says nothing."""
    accounts, _, _ = read(accounts=f"id,name,realm,enabled\na1,A,a.example,{text}\n")
    assert accounts[0].enabled is flag


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("accounts", "", ["accounts.csv: the file is empty; it must begin with a header line"]),
        ("accounts", ACCOUNTS + "a1,A,a.example,x\n", ["accounts.csv line 2: the row has 4 cells, the header 3"]),
        ("accounts", ACCOUNTS + "a1,A\n", ["accounts.csv line 2: the row has 2 cells, the header 3"]),
        ("accounts", ACCOUNTS + "a1,,a.example\n", ["accounts.csv line 2: name: is empty"]),
        ("accounts", ACCOUNTS + "a/1,A,a.example\n", ["accounts.csv line 2: id: a slash is not allowed"]),
        ("accounts", ACCOUNTS + "a\t1,A,a.example\n", ["accounts.csv line 2: id: control characters are not allowed"]),
        ("accounts", ACCOUNTS + "a1,A\0,a\n", ["accounts.csv line 2: name: control characters are not allowed"]),
        ("accounts", ACCOUNTS + "a1,A,a@example\n", ["accounts.csv line 2: realm: a realm has neither spaces nor @"]),
        ("accounts", ACCOUNTS + "a1,A,\u212a.example\n", [
            "accounts.csv line 2: realm: a realm is ASCII; write such a domain as xn--",
        ]),
        ("accounts", ACCOUNTS + "i" * 65 + ",A,a\n", [
            "accounts.csv line 2: id: String should have at most 64 characters",
        ]),
        ("accounts", "id,name,realm,enabled\na1,A,a.example,on\n", [
            "accounts.csv line 2: enabled: must be true or false",
        ]),
        ("accounts", ACCOUNTS + 'a1,A"x,a\n', [
            "accounts.csv line 2: a cell with quotes in it must begin and end with a quote",
        ]),
        ("accounts", ACCOUNTS.encode() + b"a1,\xc3\xa4\xff,a\n", ["accounts.csv line 2: byte 0xff is not UTF-8"]),
        ("accounts", "id,name,relm\n", [
            'accounts.csv line 1: accounts have no column "relm"; did you mean realm?',
            "accounts.csv line 1: accounts need a column realm",
        ]),
        ("devices", DEVICES.strip() + ",id\n", ["devices.csv line 1: column id is there twice"]),
        ("devices", DEVICES.strip() + ",ha1\nd,a,b,zz\n", [
            "devices.csv line 2: ha1: String should match pattern '^[0-9A-Fa-f]{32}$'",
        ]),
        ("devices", "id,account_id,sip_username,ha1,password\nd,a,b,939e7578ed9e3c518a452acee763bce9,x\n", [
            "devices.csv line 2: ha1: password is given too; only one of them is allowed",
        ]),
        ("nothing", "one,two\n1,2\n", [
            "nothing.csv line 1: this header is not one of accounts: "
            "id,parent_id,name,realm,enabled,superduper_admin,api_key,api_key_hash; owners: id,account_id,name; "
            "devices: id,account_id,owner_id,name,sip_username,sip_realm,password,ha1,enabled,presence_id,"
            "suppress_unregister_notify,register_overwrite_notify",
        ]),
    ],
)  # fmt: skip
def test_a_fault_in_csv_is_told_with_its_place(read: Read, name: str, content: Content, expected: list[str]) -> None:
    """Each fault names the file, the line and, if it is of one value, the column's name."""
    assert refusal(read, **{name: content}) == expected


@pytest.mark.parametrize("row", ['a1,"A"x,a', 'a1,"A,a\na2,B,b.example', "a1,A\rB,a"])
def test_what_is_no_csv_is_told_with_its_line_and_the_rest_is_read(read: Read, row: str) -> None:
    """Text behind a quote, a quote that never closes, a line end of old."""
    first, *others = refusal(read, accounts=f"{ACCOUNTS}a/1,A,a\n{row}\n")
    assert first == "accounts.csv line 2: id: a slash is not allowed"
    assert others[0].startswith("accounts.csv line 3: this is not CSV")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("id,account_id,name,fax", "owner"),
        ("id,account_id,sip_username,name,fax", "device"),
        ("id,account_id,sip_usrname,name", "device"),
        ("id,nmae,realm", "account"),
        ("account,id,naem", "owner"),
    ],
)
def test_a_misspelt_column_does_not_hide_what_a_file_is(read: Read, header: str, kind: str) -> None:
    """The fault is told of the kind that was meant."""
    lines = refusal(read, file=f"{header}\n")
    assert {line.split()[3] for line in lines} == {f"{kind}s"}


def test_a_semicolon_file_is_told_what_is_wrong_with_it(read: Read) -> None:
    """A spreadsheet in a country with decimal commas writes semicolons."""
    assert refusal(read, accounts="id;name;realm\n")[0].endswith("; cells are separated by commas")


def test_two_files_of_one_kind_are_refused(read: Read) -> None:
    """Nobody knows which of them is meant."""
    assert refusal(read, one=OWNERS, two=OWNERS) == ["two.csv: this is a second file of owners, the first is one.csv"]


def test_json_comes_alone(read: Read) -> None:
    """A JSON file beside others is refused, as it holds the whole directory."""
    assert refusal(read, one={"accounts": []}, two=OWNERS) == [
        "one.json: a JSON file holds the whole directory: import it alone"
    ]


def test_files_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    """A missing file and a directory are told by their names."""
    problems = Problems()
    missing = str(tmp_path / "missing.csv")
    with DirectoryFiles([missing, str(tmp_path)], problems), pytest.raises(DirectoryRefused) as caught:
        problems.refuse_any()
    assert caught.value.problems == [f"{missing}: no such file or directory", f"{tmp_path}: is a directory"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "must be an object with accounts, owners, devices"),
        ('{"accounts": {}}', "accounts must be an array"),
        ('{"acounts": []}', 'there is no "acounts"; did you mean accounts?'),
        ('{"owners": [],\n"owners": []}', "owners is there twice"),
        ('{"owners": ' + "[" * 100_000, "arrays and objects are nested too deeply"),
        ('{"owners": [{"id": "o", "account_id": "a"},\n  7]}', "owners[1]: must be an object, the owner"),
        ('{"owners": [{"id": "o", "account_id": "a", "id": "p"}]}', "owners[0].id: is given twice"),
        ('{"owners": [{"id": "o"}]}', "owners[0].account_id: is missing"),
        ('{"owners": [{"id": "o", "account_id": "a", "nam": ""}]}',
            "owners[0].nam: owners have no such field; did you mean name?"),
        (r'{"owners": [{"id": "o", "account_id": "a", "\n\ud800": ""}]}',
            r'owners[0]."\n\ud800": owners have no such field; known are id, account_id, name'),
        ('{"owners": [{"id": "o", "account_id": "a", "' + "k" * 1000 + '": ""}]}',
            f'owners[0]."{"k" * 69}…": owners have no such field; known are id, account_id, name'),
    ],
)  # fmt: skip
def test_a_fault_in_json_is_told_with_its_place(tmp_path: Path, text: str | bytes, expected: str) -> None:
    """Shape and keys: each fault names the file, and the element of an array."""
    assert json_refusal(tmp_path, text) == [f"d.json: {expected}"]


def test_json_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    """Such as a file in Latin-1."""
    assert json_refusal(tmp_path, b'{"owners":\n "\xff"}') == ["d.json line 2: byte 0xff is not UTF-8"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1), ('{"accounts":\n [}', 2), ('{"accounts": [],}', 1), ('{"accounts": []', 1), ('{"accounts": []} x', 1),
        ('{"accounts"\n []}', 2), ("{'accounts': []}", 1),
    ],
)  # fmt: skip
def test_what_is_no_json_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    """As Python's parser has it, which stops there."""
    (problem,) = json_refusal(tmp_path, text)
    assert problem.startswith("d.json: this is not JSON: ")
    assert f"line {line} column " in problem


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "17", "must be text"),
        ("id", "9" * 5000, "must be text"),
        ("name", "[1]", "must be text"),
        ("name", "true", "must be text"),
        ("enabled", '"true"', "must be true or false"),
        ("enabled", '""', "must be true or false"),
        ("enabled", "1", "must be true or false"),
        ("sip_username", '""', "is empty"),
        ("sip_username", "null", "is empty"),
        ("sip_username", '"\u00e4"', "a SIP username is ASCII"),
        ("id", r'"\ud800"', "is not valid Unicode"),
        ("name", r'"\u0000"', "control characters are not allowed"),
        ("password", r'"hush\u0000"', "control characters are not allowed"),
        ("sip_realm", '"a b"', "a realm has neither spaces nor @"),
    ],
)
def test_a_wrong_value_in_json_is_told_with_its_place(tmp_path: Path, field: str, value: str, expected: str) -> None:
    """The message never shows a secret."""
    assert device_refusal(tmp_path, field, value) == [f"d.json: devices[1].{field}: {expected}"]


def test_the_sections_of_json_come_in_any_order(read: Read) -> None:
    """Devices may stand before the accounts that they need."""
    accounts, owners, devices = read(
        d={
            "devices": [{"id": "d1", "account_id": "a1", "sip_username": "Bob", "enabled": False}],
            "accounts": [{"id": "a1", "name": "A", "realm": "a.example"}, {"id": "a2", "name": "B", "realm": "b"}],
        }
    )
    assert [each.id for each in accounts] == ["a1", "a2"]
    assert owners == []
    assert [(each.sip_username, each.enabled, each.ha1) for each in devices] == [("Bob", False, None)]


def test_all_faults_of_a_file_are_told_in_their_order_and_a_flood_is_cut(read: Read) -> None:
    """The first fifty are shown, the others counted."""
    rows = "".join(f"a/{number},A,r{number}.example\n" for number in range(SHOWN_PROBLEMS + 7))
    lines = refusal(read, accounts=ACCOUNTS + rows)
    assert [line.split(":")[0] for line in lines[:-1]] == [
        f"accounts.csv line {number + 2}" for number in range(SHOWN_PROBLEMS)
    ]
    assert lines[-1] == "and 7 more"


def test_secrets_become_hashes_and_are_in_no_representation(read: Read) -> None:
    """An API key is kept as its SHA-256, a password as MD5 of username, realm and password (RFC 2617)."""
    accounts, _, devices = read(
        d={
            "accounts": [{"id": "a1", "name": "A", "realm": "a.example", "api_key": "open sesame"}],
            "devices": [
                {"id": "d1", "account_id": "a1", "sip_username": "Mufasa", "password": "Circle Of Life"},
                {"id": "d2", "account_id": "a1", "sip_username": "x", "ha1": "939E7578ED9E3C518A452ACEE763BCE9"},
            ],
        }
    )
    assert accounts[0].stored_key() == hashlib.sha256(b"open sesame").digest()
    # The vector of RFC 2617, 3.5; its realm has an @, which our realms may not have, so it is given here.
    assert devices[0].hash_for("testrealm@host.com") == "939e7578ed9e3c518a452acee763bce9"
    assert devices[1].hash_for("a.example") == "939e7578ed9e3c518a452acee763bce9"
    assert "Circle" not in repr(devices)
    assert "sesame" not in repr(accounts)


def test_a_pipe_can_be_imported(tmp_path: Path) -> None:
    """A file is read once, from its beginning to its end, so that `import <(zcat ...)` works."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(OWNERS + "o1,a1,\n",))
    writer.start()
    with DirectoryFiles([str(pipe)], Problems()) as directory:
        assert list(directory.rows("owner")) == [(2, {"id": "o1", "account_id": "a1", "name": ""})]
    writer.join()
