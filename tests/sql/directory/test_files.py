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

from sql.directory.files import DirectoryFiles
from sql.directory.problems import SHOWN_PROBLEMS, Problems, located
from sql.directory.rows import Account, Device, Owner
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
    with DirectoryFiles(paths, problems) as directory:
        problems.refuse_any()
        rows = (list(directory.accounts()), list(directory.owners()), list(directory.devices()))
    problems.refuse_any()
    return rows


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
    """Refusal of a device on line 3, where the value of one field, written in JSON, begins in column 3."""
    fields = {"id": '"d1"', "account_id": '"a"', "sip_username": '"bob"'}
    fields.pop(field, None)
    head = ", ".join(f'"{key}": {text}' for key, text in fields.items())
    return json_refusal(tmp_path, f'{{"devices": [{{{head},\n"{field}":\n  {value}}}]}}')


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


def test_a_cell_over_several_lines_counts_from_where_it_begins(read: Read) -> None:
    """The place of a cell is that of its first character, also behind a cell that spans lines."""
    accounts, _, _ = read(accounts='name,id,realm\n"two\nlines",a1,a.example\nB,a2,b.example\n')
    assert accounts[0].name == "two\nlines"
    assert [located("f", accounts[0].places[name]) for name in ("name", "id", "realm")] == ["f:2:1", "f:3:8", "f:3:11"]
    assert located("f", accounts[1].places["id"]) == "f:4:3"


def test_columns_count_characters_and_not_bytes(read: Read) -> None:
    """An editor's cursor lands on the value, whatever stands before it."""
    assert refusal(read, accounts=ACCOUNTS + "a1,\u00c4\u00d6\U0001f4de,x y\n") == [
        "accounts.csv:2:8: realm: a realm has neither spaces nor @"
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
        ("accounts", "", ["accounts.csv:1:1: the file is empty; it must begin with a header line"]),
        ("accounts", ACCOUNTS + "a1,A,a.example,x\n", ["accounts.csv:2:16: the row has 4 cells, the header 3"]),
        ("accounts", ACCOUNTS + "a1,A\n", ["accounts.csv:2:5: the row has 2 cells, the header 3"]),
        ("accounts", ACCOUNTS + "a1,,a.example\n", ["accounts.csv:2:4: name: is empty"]),
        ("accounts", ACCOUNTS + "a/1,A,a.example\n", ["accounts.csv:2:1: id: a slash is not allowed"]),
        ("accounts", ACCOUNTS + "a\t1,A,a.example\n", ["accounts.csv:2:1: id: control characters are not allowed"]),
        ("accounts", ACCOUNTS + "a1,A\0,a.example\n", ["accounts.csv:2:4: name: control characters are not allowed"]),
        ("accounts", ACCOUNTS + "a1,A,a@example\n", ["accounts.csv:2:6: realm: a realm has neither spaces nor @"]),
        ("accounts", ACCOUNTS + "i" * 65 + ",A,a\n", ["accounts.csv:2:1: id: has 65 characters, 64 are allowed"]),
        (
            "accounts",
            "id,name,realm,enabled\na1,A,a.example,on\n",
            ["accounts.csv:2:16: enabled: must be true, false, yes, no, 1 or 0"],
        ),
        ("accounts", ACCOUNTS + 'a1,"A"x,a\n', [
            "accounts.csv:2:7: text after the closing quote; a quote within a cell is doubled",
        ]),
        ("accounts", ACCOUNTS + 'a1,A"x,a\n', [
            "accounts.csv:2:4: a cell with quotes in it must begin and end with a quote",
        ]),
        ("accounts", ACCOUNTS.encode() + b"a1,\xc3\xa4\xff,a\n", ["accounts.csv:2:5: byte 0xff is not UTF-8"]),
        (
            "accounts",
            "id,name,relm\n",
            [
                'accounts.csv:1:9: accounts have no column "relm"; did you mean realm?',
                "accounts.csv:1:13: accounts need a column realm",
            ],
        ),
        ("devices", DEVICES.strip() + ",id\n", ["devices.csv:1:28: column id is there twice"]),
        ("devices", DEVICES.strip() + ",ha1\nd,a,b,zz\n", ["devices.csv:2:7: ha1: is not 32 hexadecimal digits"]),
        (
            "devices",
            "id,account_id,sip_username,ha1,password\nd,a,b,939e7578ed9e3c518a452acee763bce9,x\n",
            ["devices.csv:2:7: ha1: password is given too; only one of them is allowed"],
        ),
    ],
)  # fmt: skip
def test_a_fault_in_csv_is_told_with_its_place(read: Read, name: str, content: Content, expected: list[str]) -> None:
    """Each fault names file, line, column and the column's name."""
    assert refusal(read, **{name: content}) == expected


def test_a_quote_that_never_closes_is_found_where_it_opens(read: Read) -> None:
    """It swallows the rest of the file, so its beginning is the only place that helps."""
    assert "accounts.csv:2:4: the quote that begins here is never closed" in refusal(
        read, accounts=ACCOUNTS + 'a1,"A,a.example\na2,B,b.example\n'
    )


def test_a_semicolon_file_is_told_what_is_wrong_with_it(read: Read) -> None:
    """A spreadsheet in a country with decimal commas writes semicolons."""
    assert refusal(read, accounts="id;name;realm\n")[0].endswith("; cells are separated by commas")


def test_two_files_of_one_kind_are_refused(read: Read) -> None:
    """Nobody knows which of them is meant."""
    assert refusal(read, one=OWNERS, two=OWNERS) == [
        "two.csv:1:1: this is a second file of owners, the first is one.csv"
    ]


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
        ("", ["d.json:1:1: this is not JSON: Expecting value"]),
        ("[]", ["d.json:1:1: must be an object with accounts, owners, devices, not an array"]),
        ('{"accounts":\n [}', ["d.json:2:3: this is not JSON: Expecting value"]),
        ('{"accounts": [],}', ["d.json:1:17: this is not JSON: Illegal trailing comma before the end"]),
        ('{"accounts": []', ["d.json:1:16: this is not JSON: Expecting ',' delimiter"]),
        ('{"accounts": []} x', ["d.json:1:18: this is not JSON: Extra data"]),
        ('{"accounts" []}', ["d.json:1:13: this is not JSON: Expecting ':' delimiter"]),
        ('{"accounts": {}}', ["d.json:1:14: accounts must be an array, not an object"]),
        ('{"acounts": []}', ['d.json:1:2: there is no "acounts"; did you mean accounts?']),
        ('{"owners": [],\n"owners": []}', ["d.json:2:1: owners is there twice"]),
        ('{"owners": [\n  7]}', ["d.json:2:3: must be an object, the owner, not a number"]),
        ('{"owners": [{"id": "o", "account_id": "a", "id": "p"}]}', ["d.json:1:44: id is given twice"]),
        ('{"owners": [{"id": "o",\n "accountid": "a"}]}', [
            "d.json:1:13: account_id: is missing",
            'd.json:2:2: owners have no "accountid"; did you mean account_id?',
        ]),
        (b'{"owners":\n "\xff"}', ["d.json:2:3: byte 0xff is not UTF-8"]),
        ('{"owners": ' + "[" * 100_000, ["d.json: arrays and objects are nested too deeply"]),
    ],
)  # fmt: skip
def test_a_fault_in_json_is_told_with_its_place(tmp_path: Path, text: str | bytes, expected: list[str]) -> None:
    """Syntax, shape and keys: each fault names file, line and column."""
    assert json_refusal(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "17", "id: must be text in quotes, not a number"),
        ("id", "9" * 5000, "id: must be text in quotes, not a number"),
        ("name", "[1]", "name: must be text in quotes, not an array"),
        ("name", "true", "name: must be text in quotes, not true or false"),
        ("enabled", '"true"', "enabled: must be true or false, not text"),
        ("enabled", "1", "enabled: must be true or false, not a number"),
        ("sip_username", '""', "sip_username: is empty"),
        ("sip_username", "null", "sip_username: is empty"),
        ("sip_username", r'"\ud800"', "sip_username: control characters are not allowed"),
        ("name", r'"\u0000"', "name: control characters are not allowed"),
        ("password", r'"hush\u0000"', "password: control characters are not allowed"),
        ("sip_realm", '"a b"', "sip_realm: a realm has neither spaces nor @"),
    ],
)
def test_a_wrong_value_in_json_is_told_with_its_place(tmp_path: Path, field: str, value: str, expected: str) -> None:
    """The place is that of the value, and the message never shows a secret."""
    assert device_refusal(tmp_path, field, value) == [f"d.json:3:3: {expected}"]


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
    assert [line.split(":")[1] for line in lines[:-1]] == [str(number + 2) for number in range(SHOWN_PROBLEMS)]
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
    assert accounts[0].api_key_hash == hashlib.sha256(b"open sesame").digest()
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
        assert [owner.id for owner in directory.owners()] == ["o1"]
    writer.join()
