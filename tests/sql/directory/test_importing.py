"""`registrations-db import`: what a directory becomes in the database, and what is refused with its place."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from sql.directory import importing as directory_import
from sql.directory.command import import_command
from sql.directory.importing import import_directory
from sql.directory.writing import ImportCounts, KindCounts
from sql.errors import DatabaseUnreachable, DirectoryRefused

Import = Callable[..., ImportCounts]
Database = psycopg.Connection[Any]

ACCOUNT = {"id": "a", "name": "Acme", "realm": "a.example"}
OTHER = {"id": "b", "name": "Bee", "realm": "b.example"}
DEVICE = {"id": "d", "account_id": "a", "sip_username": "bob", "password": "secret"}


def ha1(username: str, realm: str, password: str) -> str:
    return hashlib.md5(f"{username}:{realm}:{password}".encode()).hexdigest()


@pytest.fixture
def load(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Import one JSON made of lists of rows, or CSV files made of text."""
    monkeypatch.chdir(tmp_path)

    def load(
        *, replace: bool = False, delete_at_most: int = 20, report: Callable[[str], None] = print, **contents: Any
    ) -> ImportCounts:
        if all(isinstance(content, str) for content in contents.values()):
            for name, text in contents.items():
                Path(f"{name}.csv").write_text(text)
            files = [f"{name}.csv" for name in contents]
        else:
            Path("d.json").write_text(json.dumps(contents))
            files = ["d.json"]
        return import_directory(database, files, replace=replace, delete_at_most=delete_at_most, report=report)

    return load


def rows(database: Database, query: str) -> list[Any]:
    return [row[0] if len(row) == 1 else row for row in database.execute(query)]


def refusal(load: Import, **contents: Any) -> list[str]:
    with pytest.raises(DirectoryRefused) as caught:
        load(**contents)
    return caught.value.problems


def snapshot(database: Database) -> list[Any]:
    """Every row with the transaction that wrote it last."""
    return rows(
        database,
        "select xmin::text, account::text from account union all select xmin::text, owner::text from owner"
        " union all select xmin::text, device::text from device order by 2",
    )


def test_three_csv_files_become_a_directory(load: Import, database: Database) -> None:
    """Realms are in lower case, the username keeps its case, passwords become HA1 with the device's realm."""
    counts = load(
        devices="id,account_id,owner_id,sip_username,sip_realm,password\n"
        "d1,a,o,Mufasa,,Circle Of Life\nd2,a,,simba,Other.Example,x\n",
        owners="id,account_id,name\no,a,Ann\n",
        accounts="id,name,realm,parent_id,api_key\nb,Bee,b.example,a,key\na,Acme,A.Example,,\n",
    )
    assert counts == ImportCounts(
        account=KindCounts(created=2), owner=KindCounts(created=1), device=KindCounts(created=2)
    )
    assert rows(database, "select id, owner_id, sip_username, realm, ha1, enabled from device order by id") == [
        ("d1", "o", "Mufasa", "a.example", ha1("Mufasa", "a.example", "Circle Of Life"), True),
        ("d2", None, "simba", "other.example", ha1("simba", "other.example", "x"), True),
    ]
    assert rows(database, "select id, parent_id, realm, api_key_hash from account order by id") == [
        ("a", None, "a.example", None),
        ("b", "a", "b.example", hashlib.sha256(b"key").digest()),
    ]


def test_a_second_import_writes_nothing(load: Import, database: Database) -> None:
    """The same files again, plain or as the whole directory, touch no row."""
    contents: dict[str, Any] = {
        "accounts": [{**ACCOUNT, "api_key": "k"}, {**OTHER, "parent_id": "a"}],
        "owners": [{"id": "o", "account_id": "a", "name": "Ann"}],
        "devices": [{**DEVICE, "owner_id": "o", "presence_id": "77", "enabled": False}],
    }
    load(**contents)
    before = snapshot(database)
    for replace in (False, True):
        counts = load(replace=replace, **contents)
        assert counts == ImportCounts(
            account=KindCounts(unchanged=2), owner=KindCounts(unchanged=1), device=KindCounts(unchanged=1)
        )
    assert snapshot(database) == before


def test_what_a_file_does_not_say_stays(load: Import, database: Database) -> None:
    """Keys that are absent and secrets that are empty leave what the database has; an empty text empties."""
    load(
        accounts=[{**ACCOUNT, "api_key": "k", "enabled": False}],
        owners=[{"id": "o", "account_id": "a"}],
        devices=[{**DEVICE, "sip_realm": "x.example", "owner_id": "o", "presence_id": "7", "enabled": False}],
    )
    load(accounts=[ACCOUNT], devices=[{"id": "d", "account_id": "a", "sip_username": "bob", "name": "Desk"}])
    device = "select name, owner_id, presence_id, sip_realm, enabled, ha1 from device"
    secret = ha1("bob", "x.example", "secret")
    assert rows(database, device) == [("Desk", "o", "7", "x.example", False, secret)]
    assert rows(database, "select enabled, api_key_hash is null from account") == [(False, False)]
    load(
        devices="id,account_id,sip_username,owner_id,presence_id,ha1,enabled\nd,a,bob,,,,\n",
    )
    assert rows(database, device) == [("Desk", None, None, "x.example", False, secret)]


def test_a_password_is_hashed_with_the_realm_that_only_the_database_knows(load: Import, database: Database) -> None:
    """A file that leaves sip_realm out gives a new password to the device's own realm."""
    load(accounts=[ACCOUNT], devices=[{**DEVICE, "sip_realm": "x.example"}])
    load(devices=[{**DEVICE, "password": "new"}])
    assert rows(database, "select ha1 from device") == [ha1("bob", "x.example", "new")]


def test_replace_deletes_what_the_files_do_not_have(load: Import, database: Database) -> None:
    """Devices, owners, and accounts with their tokens go; the rest stays."""
    load(
        accounts=[ACCOUNT, {**OTHER, "parent_id": "a"}],
        owners=[{"id": "o", "account_id": "a"}, {"id": "p", "account_id": "b"}],
        devices=[DEVICE, {"id": "e", "account_id": "b", "owner_id": "p", "sip_username": "eve"}],
    )
    database.execute(
        "insert into auth_token (account_id, token_hash)"
        " select 'b', sha256(n::text::bytea) from generate_series(1, 3) n"
    )
    counts = load(
        replace=True, accounts=[OTHER | {"id": "c"}, ACCOUNT], owners=[], devices=[{**DEVICE, "owner_id": ""}]
    )
    assert counts == ImportCounts(
        account=KindCounts(created=1, unchanged=1, deleted=1),
        owner=KindCounts(deleted=2),
        device=KindCounts(unchanged=1, deleted=1),
        tokens_deleted=3,
    )
    assert rows(database, "select id from account order by id") == ["a", "c"]


def test_replace_wants_the_whole_directory(load: Import) -> None:
    """A kind that no file has would be deleted whole, which nobody means."""
    assert refusal(load, replace=True, accounts=[ACCOUNT]) == ["--replace needs owners and devices, too"]


def test_a_device_leaves_an_account_that_is_deleted(load: Import, database: Database) -> None:
    """In one import a device and its owner move away, and take the realm of the account that goes."""
    load(accounts=[ACCOUNT, OTHER], owners=[{"id": "o", "account_id": "a"}], devices=[{**DEVICE, "owner_id": "o"}])
    load(
        replace=True,
        accounts=[OTHER],
        owners=[{"id": "o", "account_id": "b"}],
        devices=[{**DEVICE, "account_id": "b", "owner_id": "o", "sip_realm": "a.example"}],
    )
    assert rows(database, "select account_id, owner_id, realm, account_realm from device") == [
        ("b", "o", "a.example", "b.example")
    ]


def test_devices_exchange_usernames(load: Import, database: Database) -> None:
    """What must be unique may be swapped between rows of one import."""
    load(accounts=[ACCOUNT], devices=[DEVICE, {**DEVICE, "id": "e", "sip_username": "eve"}])
    load(devices=[{**DEVICE, "sip_username": "EVE"}, {**DEVICE, "id": "e"}])
    assert rows(database, "select id, sip_username from device order by id") == [("d", "EVE"), ("e", "bob")]


def test_accounts_exchange_realms_and_keys(load: Import, database: Database) -> None:
    """Realms and API keys may be swapped, with devices of equal names on both sides."""
    load(
        accounts=[{**ACCOUNT, "api_key": "1"}, {**OTHER, "api_key": "2"}],
        devices=[DEVICE, {**DEVICE, "id": "e", "account_id": "b"}],
    )
    load(
        accounts=[{**ACCOUNT, "realm": "b.example", "api_key": "2"}, {**OTHER, "realm": "a.example", "api_key": "1"}],
        devices=[DEVICE, {**DEVICE, "id": "e", "account_id": "b"}],
    )
    assert rows(database, "select id, realm, ha1 from device order by id") == [
        ("d", "b.example", ha1("bob", "b.example", "secret")),
        ("e", "a.example", ha1("bob", "a.example", "secret")),
    ]
    assert rows(database, "select realm, api_key_hash from account order by id") == [
        ("b.example", hashlib.sha256(b"2").digest()),
        ("a.example", hashlib.sha256(b"1").digest()),
    ]


def test_accounts_exchange_realms_and_all_their_devices(load: Import, database: Database) -> None:
    """When the devices move along, no AoR changes, and each keeps its stored HA1."""
    load(accounts=[ACCOUNT, OTHER], devices=[DEVICE, {**DEVICE, "id": "e", "account_id": "b"}])
    before = rows(database, "select id, realm, ha1 from device order by id")
    device = {"sip_username": "bob"}
    load(
        accounts=[{**ACCOUNT, "realm": "b.example"}, {**OTHER, "realm": "a.example"}],
        devices=[{"id": "d", "account_id": "b", **device}, {"id": "e", "account_id": "a", **device}],
    )
    assert rows(database, "select id, realm, ha1 from device order by id") == before
    assert rows(database, "select account_id from device order by id") == ["b", "a"]


def test_a_new_account_takes_the_realm_that_another_gives_up(load: Import, database: Database) -> None:
    """It may even stand before the one that gives it up, as a child may before its parent."""
    load(accounts=[ACCOUNT])
    load(accounts=[{**ACCOUNT, "id": "c", "parent_id": "n"}, {**ACCOUNT, "realm": "new"}, {**OTHER, "id": "n"}])
    assert rows(database, "select id, parent_id, realm from account order by id") == [
        ("a", None, "new"),
        ("c", "n", "a.example"),
        ("n", None, "b.example"),
    ]


def test_parent_and_child_exchange_places_and_realms(load: Import, database: Database) -> None:
    """No step on the way counts as an account that is its own ancestor."""
    load(accounts=[ACCOUNT, {**OTHER, "parent_id": "a"}])
    load(
        accounts=[
            {**ACCOUNT, "realm": "b.example", "parent_id": "b"},
            {**OTHER, "realm": "a.example", "parent_id": ""},
        ]
    )
    assert rows(database, "select id, parent_id from account order by id") == [("a", "b"), ("b", None)]


def test_a_sip_realm_becomes_the_realm_of_another_account(load: Import, database: Database) -> None:
    """A device leaves the realm in the import in which another account takes it over."""
    load(accounts=[ACCOUNT, OTHER], devices=[{**DEVICE, "sip_realm": "a.example"}])
    load(accounts=[{**ACCOUNT, "realm": "new"}, {**OTHER, "realm": "a.example"}], devices=[{**DEVICE, "sip_realm": ""}])
    assert rows(database, "select realm, ha1 from device") == [("new", ha1("bob", "new", "secret"))]


def test_an_owner_moves_with_its_devices(load: Import, database: Database) -> None:
    """Owner and device change to another account in one import."""
    load(accounts=[ACCOUNT, OTHER], owners=[{"id": "o", "account_id": "a"}], devices=[{**DEVICE, "owner_id": "o"}])
    load(owners=[{"id": "o", "account_id": "b"}], devices=[{**DEVICE, "account_id": "b"}])
    assert rows(database, "select account_id, owner_id, ha1 from device") == [
        ("b", "o", ha1("bob", "b.example", "secret"))
    ]


def test_a_realm_changes_under_devices_without_a_password(load: Import, database: Database) -> None:
    """A device that has no HA1 and is not in the files moves to the new realm with its account."""
    load(accounts=[ACCOUNT], devices=[{"id": "d", "account_id": "a", "sip_username": "Bob"}])
    load(accounts=[{**ACCOUNT, "realm": "new"}])
    assert rows(database, "select sip_username, realm from device") == [("Bob", "new")]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (
            {"accounts": "id,name,realm\nx,X,x\nx,X,y\n"},
            ['accounts.csv line 3: id: "x" is given twice (accounts.csv line 2)'],
        ),
        (
            {"accounts": "id,name,realm\nx,X,x\ny,Y,X\nz,Z,a.example\n"},
            [
                'accounts.csv line 3: realm: "x" is the realm of account "x", too (accounts.csv line 2)',
                'accounts.csv line 4: realm: "a.example" is the realm of account "a", too',
            ],
        ),
        (
            {"accounts": "id,name,realm,api_key\nx,X,x,k\ny,Y,y,k\nz,Z,z,key of a\n"},
            [
                'accounts.csv line 3: api_key: account "x" has the same (accounts.csv line 2)',
                'accounts.csv line 4: api_key: account "a" has the same',
            ],
        ),
        (
            {"accounts": "id,name,realm,parent_id\nx,X,x,nobody\n"},
            ['accounts.csv line 2: parent_id: there is no account "nobody"'],
        ),
        (
            {"accounts": "id,name,realm,parent_id\na,A,a.example,x\nx,X,x,b\ny,Y,y,x\nz,Z,z,z\n"},
            [
                'accounts.csv line 2: parent_id: account "a" would be its own ancestor',
                'accounts.csv line 3: parent_id: account "x" would be its own ancestor',
                'accounts.csv line 5: parent_id: account "z" would be its own ancestor',
            ],
        ),
        (
            {"accounts": "id,name,realm\nx,X,sip.example\n"},
            ['accounts.csv line 2: realm: "sip.example" is the sip_realm of device "e", which is another account\'s'],
        ),
        (
            {"accounts": "id,name,realm\na,A,new\n"},
            [
                'accounts.csv line 2: realm: device "d" was "bob@a.example", so its stored ha1 is void: '
                "import it with a new password or ha1"
            ],
        ),
        ({"owners": "id,account_id\nx,a\nx,a\n"}, ['owners.csv line 3: id: "x" is given twice (owners.csv line 2)']),
        ({"owners": "id,account_id\nx,nobody\n"}, ['owners.csv line 2: account_id: there is no account "nobody"']),
        (
            {"owners": "id,account_id\no,b\n"},
            [
                'owners.csv line 2: account_id: device "d" belongs to "o"; '
                "it must move to this account in the same import"
            ],
        ),
        (
            {"devices": "id,account_id,sip_username\nx,a,x\nx,a,y\n"},
            ['devices.csv line 3: id: "x" is given twice (devices.csv line 2)'],
        ),
        (
            {"devices": "id,account_id,sip_username\nx,nobody,x\n"},
            ['devices.csv line 2: account_id: there is no account "nobody"'],
        ),
        (
            {"devices": "id,account_id,sip_username,owner_id\nx,a,x,nobody\ny,b,y,o\n"},
            [
                'devices.csv line 2: owner_id: there is no owner "nobody"',
                'devices.csv line 3: owner_id: owner "o" belongs to account "a"',
            ],
        ),
        (
            {"devices": "id,account_id,sip_username,sip_realm\nx,a,x,B.Example\n"},
            ['devices.csv line 2: sip_realm: "b.example" is the realm of account "b"'],
        ),
        (
            {"devices": "id,account_id,sip_username,sip_realm\nx,a,x,\ny,a,X,\nz,a,BOB,\nw,b,X,\nv,b,x,b.example\n"},
            [
                'devices.csv line 3: sip_username: device "x" has "X@a.example", too (devices.csv line 2)',
                'devices.csv line 4: sip_username: device "d" has "BOB@a.example", too',
                'devices.csv line 6: sip_username: device "w" has "x@b.example", too (devices.csv line 5)',
            ],
        ),
        (
            {"devices": "id,account_id,sip_username\nd,a,bobby\ne,b,eve\n"},
            [
                'devices.csv line 2: sip_username: device "d" was "bob@a.example", so its stored ha1 is void: '
                "give a new password or ha1"
            ],
        ),
        (
            {"devices": "id,account_id,sip_username,owner_id,sip_realm\nd,a,bob,o,new\n"},
            [
                'devices.csv line 2: sip_realm: device "d" was "bob@a.example", so its stored ha1 is void: '
                "give a new password or ha1"
            ],
        ),
        (
            {"accounts": "id,name,realm\na,A,new\n", "devices": "id,account_id,sip_username\nd,a,bob\n"},
            [
                'devices.csv line 2: account_id: device "d" was "bob@a.example", so its stored ha1 is void: '
                "give a new password or ha1"
            ],
        ),
        (
            {"accounts": "id,name,realm\nx,X,x\n", "devices": "id,account_id,sip_username,sip_realm\nn,a,n,x\n"},
            ['devices.csv line 2: sip_realm: "x" is the realm of account "x" (accounts.csv line 2)'],
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(
    load: Import, database: Database, contents: dict[str, str], expected: list[str]
) -> None:
    """Faults between rows, of the files or of the database, name file, line and field; nothing is written."""
    load(
        accounts=[{**ACCOUNT, "api_key": "key of a"}, {**OTHER, "parent_id": "a"}],
        owners=[{"id": "o", "account_id": "a"}],
        devices=[
            {**DEVICE, "owner_id": "o"},
            {"id": "e", "account_id": "b", "sip_username": "eve", "sip_realm": "sip.example"},
        ],
    )
    before = snapshot(database)
    assert refusal(load, **contents) == expected
    assert snapshot(database) == before


def test_a_device_that_follows_its_account_into_a_taken_aor_is_told(load: Import) -> None:
    """A device that is in no file may collide, too, when the realm of its account changes."""
    load(
        accounts=[ACCOUNT],
        devices=[
            {"id": "d", "account_id": "a", "sip_username": "bob"},
            {"id": "e", "account_id": "a", "sip_username": "bob", "sip_realm": "new"},
        ],
    )
    assert refusal(load, accounts="id,name,realm\na,A,new\n") == [
        'accounts.csv line 2: realm: device "e" has "bob@new", too'
    ]


def test_faults_of_values_and_between_rows_are_told_together(load: Import) -> None:
    """One run finds all of it, and a fault does not bring others that are only its consequence."""
    assert refusal(
        load,
        accounts="id,name,realm\nx/1,X,x.example\n",
        devices="id,account_id,sip_username,password\nd1,x/1,bob,p\nd2,nobody,eve,p\nd3,x/1,\x7f,p\n",
    ) == [
        "accounts.csv line 2: id: a slash is not allowed",
        "devices.csv line 2: account_id: a slash is not allowed",
        'devices.csv line 3: account_id: there is no account "nobody"',
        "devices.csv line 4: account_id: a slash is not allowed",
        "devices.csv line 4: sip_username: control characters are not allowed",
    ]


def test_json_tells_places_of_what_the_database_finds(database: Database, tmp_path: Path) -> None:
    """A row of JSON is named by its place in the array."""
    file = tmp_path / "d.json"
    file.write_text('{"devices": [\n  {"id": "d", "sip_username": "bob",\n   "account_id": "nobody"}]}')
    with pytest.raises(DirectoryRefused) as caught:
        import_directory(database, [str(file)], report=print)
    assert caught.value.problems == [f'{file}: devices[0].account_id: there is no account "nobody"']


def test_no_password_reaches_the_database_or_a_message(load: Import, database: Database) -> None:
    """Neither a table, nor a report, nor a refusal shows a password or an API key."""
    said: list[str] = []
    hidden = {"password": "hush hush", "ha1": ha1("bob", "a.example", "hush hush")}
    problems = refusal(load, report=said.append, accounts=[{**ACCOUNT, "api_key": "hush\n"}], devices=[DEVICE | hidden])
    load(report=said.append, accounts=[{**ACCOUNT, "api_key": "hush!"}], devices=[{**DEVICE, "password": "hush hush"}])
    assert len(problems) == 2
    assert "hush" not in "".join([*problems, *said, str(snapshot(database))])


def test_imports_wait_for_each_other(load: Import, database: Database, database_url: str) -> None:
    """A second import begins when the first has ended, and does not fail."""
    with psycopg.connect(database_url) as first:
        first.execute("lock table account, owner, device in share row exclusive mode")
        second = threading.Thread(target=load, kwargs={"accounts": [ACCOUNT]})
        second.start()
        second.join(0.3)
        assert second.is_alive()
        first.rollback()
        second.join(10)
    assert rows(database, "select id from account") == ["a"]


def test_an_import_does_not_wait_for_ever(load: Import, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When others hold the tables for too long, one line says so."""
    monkeypatch.setattr(directory_import, "LOCK_SECONDS", 0.2)
    with psycopg.connect(database_url) as other:
        other.execute("update account set name = name")
        with pytest.raises(DatabaseUnreachable, match="another import, or another session that writes"):
            load(accounts=[ACCOUNT])


def run(database_url: str, *arguments: str) -> Result:
    return CliRunner().invoke(import_command, arguments, env={"REGISTRATIONS_DATABASE_URL": database_url})


def test_the_command_says_what_it_did(load: Import, database_url: str, tmp_path: Path) -> None:
    """Counts go to standard output, progress to standard error."""
    load(accounts=[ACCOUNT], owners=[], devices=[DEVICE])
    result = run(database_url, "d.json", "--replace")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "accounts: 0 created, 0 updated, 1 unchanged, 0 deleted",
        "owners: 0 created, 0 updated, 0 unchanged, 0 deleted",
        "devices: 0 created, 0 updated, 1 unchanged, 0 deleted",
    ]
    assert "d.json: 1 devices" in result.stderr


def test_the_command_prints_what_is_wrong_and_exits_with_1(database_url: str, tmp_path: Path) -> None:
    """An operator's mistake is lines and an exit code, never a traceback."""
    (tmp_path / "owners.csv").write_text("id,account_id\no,nobody\n")
    result = run(database_url, str(tmp_path / "owners.csv"), "missing.csv")
    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        ["missing.csv: no such file or directory", "nothing was imported"],
    )
    result = run(database_url, str(tmp_path / "owners.csv"))
    assert result.exit_code == 1
    assert f'{tmp_path}/owners.csv line 2: account_id: there is no account "nobody"' in result.stderr.splitlines()


def test_the_command_refuses_a_database_without_the_schema(postgres: Any) -> None:
    """It names the command that cures it."""
    result = run(postgres.url("postgres"), "missing.csv")
    assert result.exit_code == 1
    assert "run `registrations-db migrate`" in result.stderr


@pytest.mark.parametrize(("kept", "percent", "refused"), [(79, 20, True), (80, 20, False), (0, 100, False)])
def test_files_that_would_delete_a_large_share_of_the_devices_are_not_believed(
    load: Import, database: Database, kept: int, percent: int, refused: bool
) -> None:
    """A half-written export must not flush everybody; whoever means it says so."""

    def contents(count: int) -> dict[str, Any]:
        devices = [{"id": f"d{n}", "account_id": "a", "sip_username": f"u{n}"} for n in range(count)]
        return {"accounts": [ACCOUNT], "owners": [], "devices": devices}

    load(**contents(100))
    if refused:
        with pytest.raises(DirectoryRefused, match="would delete 21 of 100 devices, more than 20 %"):
            load(replace=True, delete_at_most=percent, **contents(kept))
    else:
        load(replace=True, delete_at_most=percent, **contents(kept))
    assert rows(database, "select count(*) from device") == [100 if refused else kept]


@pytest.mark.parametrize("kind", ["account", "owner"])
def test_so_it_is_with_accounts_and_owners(load: Import, database: Database, kind: str) -> None:
    """With an account its tokens go, also if it has no device."""
    accounts = [ACCOUNT, *({"id": f"a{n}", "name": "A", "realm": f"a{n}.test"} for n in range(19))]
    owners = [{"id": f"o{n}", "account_id": "a"} for n in range(20)]
    load(accounts=accounts, owners=owners, devices=[])
    kept = {"accounts": accounts, "owners": owners, f"{kind}s": {"account": accounts, "owner": owners}[kind][:9]}
    with pytest.raises(DirectoryRefused, match=f"would delete 11 of 20 {kind}s, more than 20 %"):
        load(replace=True, devices=[], **kept)
    load(replace=True, delete_at_most=100, devices=[], **kept)
    assert rows(database, f"select count(*) from {kind}") == [9]


def test_a_small_directory_may_lose_devices_as_it_likes(load: Import, database: Database) -> None:
    """Of ten devices no share says anything."""
    devices = [{"id": f"d{n}", "account_id": "a", "sip_username": f"u{n}"} for n in range(10)]
    load(accounts=[ACCOUNT], owners=[], devices=devices)
    load(replace=True, accounts=[ACCOUNT], owners=[], devices=[])
    assert rows(database, "select count(*) from device") == [0]
