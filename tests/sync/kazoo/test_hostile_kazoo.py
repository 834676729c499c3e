"""An import from a Kazoo that is broken or in another's hands: it is refused with what is wrong, whole, and in time."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sql.directory.writing import ImportCounts
from sql.errors import DirectoryRefused
from sql.settings import DatabaseSettings
from sync.kazoo import client as kazoo_client
from sync.kazoo.client import KazooClient
from sync.kazoo.errors import KazooError, KazooRefused, KazooUnreachable
from sync.kazoo.importing import import_from_kazoo
from sync.kazoo.settings import KazooSettings
from tests.stand.hostile_kazoo import API_KEY, TOKEN, HostileKazoo, Said, hostile_kazoo, raw, said

ROOT = "accounts/root"
DEVICE = f"{ROOT}/devices/d1"
LEVELS = 100_000
Import = Callable[..., ImportCounts]
TABLES = "select xmin::text, to_jsonb(t) from {} t order by 2"


@pytest.fixture
def kazoo() -> Iterator[HostileKazoo]:
    with hostile_kazoo() as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the import keeps its files."""
    return tmp_path / "state"


@pytest.fixture
def load(kazoo: HostileKazoo, database: psycopg.Connection, database_url: str, state: Path) -> Import:
    """Import as the worker does, but without waiting; keyword arguments are settings."""

    def run(*, delete_at_most: int = 20, **settings: Any) -> ImportCounts:
        return import_from_kazoo(
            kazoo.url,
            KazooSettings(kazoo_api_key=API_KEY, kazoo_rate=1000, kazoo_directory=state, **settings),
            DatabaseSettings(database_url=database_url),
            replace=True,
            delete_at_most=delete_at_most,
            wait=lambda _: None,
            report=print,
        )

    return run


def directory(database: psycopg.Connection) -> list[Any]:
    return [database.execute(TABLES.format(kind)).fetchall() for kind in ("account", "owner", "device")]


def device(**document: Any) -> Said:
    return said(data={"id": "d1", "sip": {"username": "u1"}, **document})


def user(**summary: Any) -> Said:
    return said(data=[{"id": "anna", **summary}])


def below(**summary: Any) -> Said:
    return said(data=[{"id": "acme", "tree": ["root"], **summary}])


NO_JSON = {
    "nothing": (b"", "not JSON"),
    "HTML": (b"<html>", "not JSON"),
    "half of it": (b'{"data": {"id": "d1"', "not JSON"),
    "two": (b'{"data": {}} {"data": {}}', "not JSON"),
    "a list": (b"[]", "the answer must be an object, not an array"),
    "text": (b'"data"', "the answer must be an object, not text"),
    "null": (b"null", "the answer must be an object, not null"),
    "a number": (b"1e999", "the answer must be an object, not a number"),
    "no data": (b"{}", "the answer has no data"),
    "Latin-1": (b'{"data": {"id": "d1", "name": "J\xf6rg"}}', "not UTF-8: byte 0xf6 at 32"),
    "UTF-16": ('{"data": {"id": "d1"}}'.encode("utf-16"), "not UTF-8"),
    "NaN": (b'{"data": {"id": "d1", "x": NaN}}', "has NaN or Infinity"),
    "a key twice": (b'{"data": {"id": "d1", "enabled": true, "enabled": false}}', "has a key twice"),
    "a deep nest": (b'{"data": ' + b"[" * LEVELS + b"]" * LEVELS + b"}", "nested too deeply"),
    "deep objects": (b'{"data": ' + b'{"a":' * LEVELS + b"1" + b"}" * LEVELS + b"}", "nested too deeply"),
    "a huge number": (b'{"data": {"id": "d1", "name": ' + b"9" * 5000 + b"}}", "not JSON"),
}

IDS: tuple[tuple[str, Callable[[str], Said], str], ...] = (
    ("api_auth", lambda value: said(auth_token=TOKEN, data={"account_id": value}), "account_id"),
    (f"{ROOT}/descendants", lambda value: below(id=value), "id of an entry of data"),
    (f"{ROOT}/descendants", lambda value: below(tree=["root", value]), "tree of an entry of data.*"),
    (f"{ROOT}/users", lambda value: user(id=value), "id of an entry of data"),
    (f"{ROOT}/devices", lambda value: said(data=[{"id": value}]), "id of an entry of data"),
)
SHAPES: dict[str, tuple[str, Said, str]] = {
    # The login.
    "no token": ("api_auth", said(data={"account_id": "root"}), "auth_token is not a token"),
    "a token that is no text": (
        "api_auth",
        said(auth_token=1, data={"account_id": "root"}),
        "auth_token is not a token",
    ),
    "a header in the token": ("api_auth", said(auth_token="a\r\nb: c", data={}), "auth_token is not a token"),
    "a login without an account": ("api_auth", said(auth_token=TOKEN, data={}), "account_id must be text, not null"),
    "a login that is a list": ("api_auth", said(auth_token=TOKEN, data=[]), "data must be an object, not an array"),
    # IDs, which go into URLs and the name of a directory.
    **{
        f"{path}: {what} {value!r:.20}": (path, make(value), f"{path}: {what} is not an ID")
        for value in ("..", "a/b", "%2e%2e", "a?b", "a#b", "a b", "a\0", "a\n", "é", "\ud800", "", "a" * 65)
        for path, make, what in IDS
    },
    "an ID that is a number": (f"{ROOT}/devices", said(data=[{"id": 1}]), "id of an entry of data must be text"),
    "no ID": (f"{ROOT}/devices", said(data=[{}]), "id of an entry of data must be text, not null"),
    # Lists.
    "a list that is an object": (
        f"{ROOT}/devices",
        said(data={}),
        f"{ROOT}/devices: data must be an array, not an obj",
    ),
    "a list that is null": (f"{ROOT}/users", said(data=None), f"{ROOT}/users: data must be an array, not null"),
    "an entry that is text": (f"{ROOT}/users", said(data=["anna"]), "an entry of data must be an object, not text"),
    "a start key that is an object": (
        f"{ROOT}/users",
        said(data=[], next_start_key={}),
        "next_start_key must be text, not an object",
    ),
    "a start key that is no text": (
        f"{ROOT}/users",
        said(data=[], next_start_key="\udfff"),
        "next_start_key has a char",
    ),
    "no tree": (f"{ROOT}/descendants", below(tree=None), "tree of an entry of data must be an array, not null"),
    "an empty tree": (f"{ROOT}/descendants", below(tree=[]), "tree .*the last of its elements must be text"),
    # Documents.
    "a document that is a list": (DEVICE, said(data=[]), f"{DEVICE}: data must be an object, not an array"),
    "a document that is a number": (DEVICE, said(data=1), f"{DEVICE}: data must be an object, not a number"),
    "a document without an ID": (DEVICE, said(data={}), f"{DEVICE}: id is not the one that was asked for"),
    "another document": (DEVICE, device(id="d2"), f"{DEVICE}: id is not the one that was asked for"),
    "a name that is an object": (DEVICE, device(name={}), f"{DEVICE}: name must be text, not an object"),
    "a name of a user that is a list": (f"{ROOT}/users", user(last_name=[]), "last_name must be text, not an array"),
    "a realm that is true": (ROOT, said(data={"id": "root", "realm": True}), f"{ROOT}: realm must be text, not true"),
    "a name that is long": (DEVICE, device(name="n" * 1001), "name has 1,001 characters, 1,000 are allowed"),
    "a NUL": (DEVICE, device(name="a\0"), "name has a character that cannot be stored"),
    "half a character": (DEVICE, device(name="\ud83d"), "name has a character that cannot be stored"),
    "half a character in a password": (
        DEVICE,
        device(sip={"username": "u1", "password": "\udc00"}),
        "sip.password has a character that cannot be stored",
    ),
    "a control character": (
        DEVICE,
        device(name="\x1b]"),
        "devices.csv line 2: name: control characters are not allowed",
    ),
    "sip that is a list": (DEVICE, device(sip=[]), f"{DEVICE}: sip must be an object, not an array"),
    "a username that is a list": (DEVICE, device(sip={"username": []}), "sip.username must be text, not an array"),
    "a flag that is a number": (DEVICE, device(enabled=0), f"{DEVICE}: enabled must be true or false"),
    "a flag that is a list": (DEVICE, device(register_overwrite_notify=[]), "register_overwrite_notify must be true"),
}


@pytest.mark.parametrize(("body", "message"), NO_JSON.values(), ids=NO_JSON)
def test_an_answer_that_is_no_document_is_named(
    kazoo: HostileKazoo, load: Import, database: psycopg.Connection, body: bytes, message: str
) -> None:
    """Where and what; it may be a proxy's page, so it is asked for some times. The next import goes on."""
    good = kazoo.answers[DEVICE]
    kazoo.answers[DEVICE] = raw(body)
    with pytest.raises(KazooUnreachable, match=f"{DEVICE}: .*{message}.*, 8 times"):
        load()
    assert directory(database) == [[], [], []]
    kazoo.answers[DEVICE] = good
    assert load().device.created == 1


@pytest.mark.parametrize(("path", "answer", "message"), SHAPES.values(), ids=SHAPES)
def test_what_is_no_part_of_kazoo_is_named_and_nothing_of_it_imported(
    kazoo: HostileKazoo,
    load: Import,
    database: psycopg.Connection,
    tmp_path: Path,
    path: str,
    answer: Said,
    message: str,
) -> None:
    """At every level; the directory stays as it was, and no file is made where an ID leads."""
    load()
    before = directory(database)
    good = kazoo.answers[path]
    kazoo.answers[path] = answer
    kazoo.answers["accounts/acme"] = said(data={"id": "acme", "name": "Acme", "realm": "acme.test"})
    with pytest.raises((KazooRefused, DirectoryRefused), match=message):
        load()
    assert directory(database) == before
    assert {each.name for each in tmp_path.rglob("*")} <= {"state", "kazoo-root", "journal", "devices.csv"} | {
        f"{kind}.csv" for kind in ("accounts", "owners")
    }
    kazoo.answers[path] = good
    assert load().device.unchanged == 1


TREES: dict[str, Callable[[HostileKazoo], tuple[list[Any], str]]] = {
    "the account of the key below another": lambda _: (
        [{"id": "root", "tree": ["a"]}],
        "account root has two parents",
    ),
    "an account in two places": lambda kazoo: (
        [kazoo.add_account("a", tree=["root"], realm="a.test"), {"id": "a", "tree": ["root", "b"]}],
        "account a has two parents",
    ),
    "a loop": lambda kazoo: (
        [
            kazoo.add_account("a", tree=["root", "b"], realm="a.test"),
            kazoo.add_account("b", tree=["root", "a"], realm="b.test"),
        ],
        "parent_id: account .* would be its own ancestor",
    ),
    "its own parent": lambda kazoo: (
        [kazoo.add_account("a", tree=["root", "a"], realm="a.test")],
        "parent_id: account .* would be its own ancestor",
    ),
    "a parent that is nowhere": lambda kazoo: (
        [kazoo.add_account("a", tree=["root", "b"], realm="a.test")],
        "account a is below one that is not in the list",
    ),
    "another's realm": lambda kazoo: (
        [kazoo.add_account("a", tree=["root"], realm="ROOT.test")],
        'realm: "root.test" is the realm of account "root", too',
    ),
    "another's device": lambda kazoo: (
        [_with_the_device_of_root(kazoo, "a")],
        'id: "d1" is given twice',
    ),
}


def _with_the_device_of_root(kazoo: HostileKazoo, account_id: str) -> dict[str, Any]:
    entry = kazoo.add_account(account_id, tree=["root"], realm=f"{account_id}.test")
    kazoo.answers[f"accounts/{account_id}/devices"] = kazoo.answers[f"{ROOT}/devices"]
    kazoo.answers[f"accounts/{account_id}/devices/d1"] = kazoo.answers[DEVICE]
    return entry


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_accounts_that_take_anothers_place_are_refused(
    kazoo: HostileKazoo,
    load: Import,
    database: psycopg.Connection,
    make: Callable[[HostileKazoo], tuple[list[Any], str]],
) -> None:
    """An ID, a realm, a device, a parent: nothing is imported."""
    entries, message = make(kazoo)
    kazoo.answers[f"{ROOT}/descendants"] = said(data=entries)
    with pytest.raises((KazooRefused, DirectoryRefused), match=message):
        load()
    assert directory(database) == [[], [], []]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["api_auth", f"{ROOT}/devices"])
def test_no_redirect_carries_the_key_away(kazoo: HostileKazoo, load: Import, path: str, status: int) -> None:
    """The place is named, without what could be a secret in it, and not asked."""
    with hostile_kazoo() as other:
        place = other.url.replace("//", f"//{TOKEN}@")
        kazoo.answers[path] = said(status, headers=[f"Location: {place}/v2/api_auth?{API_KEY}"], data={})
        with pytest.raises(
            KazooRefused, match=f'{path}: Kazoo redirects to "{other.url}/v2/api_auth"; redirects are'
        ) as error:
            load()
    assert other.heard == b""
    assert API_KEY not in str(error.value)
    assert TOKEN not in str(error.value)


def _numbered(kazoo: HostileKazoo, *, rows: int) -> Callable[[str], Said]:
    entries = [{"id": f"d{number}"} for number in range(rows)]
    return lambda _: said(data=entries, next_start_key=f"key-{len(kazoo.asked)}")


ENDLESS: dict[str, tuple[str, Callable[[HostileKazoo], Callable[[str], Said]], dict[str, Any], str]] = {
    "a page that is its own next one": (
        "descendants",
        lambda _: lambda _: said(data=[], next_start_key="same"),
        {},
        "a next_start_key comes a second time",
    ),
    "two pages that follow each other": (
        "users",
        lambda kazoo: lambda _: said(data=[], next_start_key=str(len(kazoo.asked) % 2 + 1)),
        {},
        "a next_start_key comes a second time",
    ),
    "empty pages": ("devices", lambda kazoo: _numbered(kazoo, rows=0), {"kazoo_max_rows": 50}, "KAZOO_MAX_ROWS"),
    "full pages": ("devices", lambda kazoo: _numbered(kazoo, rows=9), {"kazoo_max_rows": 50}, "KAZOO_MAX_ROWS"),
    "pages of many bytes": (
        "users",
        lambda kazoo: lambda _: said(data=[], x="x" * 50_000, next_start_key=str(len(kazoo.asked))),
        {"kazoo_max_rows": 20},
        "more than 4,096 bytes for each of REGISTRATIONS_KAZOO_MAX_ROWS",
    ),
    "pages for days": (
        "devices",
        lambda kazoo: _numbered(kazoo, rows=1),
        {"kazoo_max_duration": 0.3},
        "not done within 0.3 seconds, REGISTRATIONS_KAZOO_MAX_DURATION",
    ),
}


@pytest.mark.parametrize(("path", "make", "settings", "message"), ENDLESS.values(), ids=ENDLESS)
def test_a_list_without_an_end_has_one_here(
    kazoo: HostileKazoo,
    load: Import,
    database: psycopg.Connection,
    path: str,
    make: Callable[[HostileKazoo], Callable[[str], Said]],
    settings: dict[str, Any],
    message: str,
) -> None:
    """The error names the limit, and the setting where there is one."""
    kazoo.answers[f"{ROOT}/{path}"] = make(kazoo)
    with pytest.raises(KazooRefused, match=message):
        load(**settings)
    assert directory(database) == [[], [], []]


def _forever(*, first: bytes, then: bytes) -> Said:
    return itertools.chain([first], itertools.repeat(then))


HEAD = b"HTTP/1.1 200 OK\r\n"
TOO_LARGE: dict[str, tuple[Callable[[], Said], str]] = {
    "gzip": (lambda: raw(b"", headers=["Content-Encoding: gzip"]), "the answer is compressed, although"),
    "a body of a petabyte": (
        lambda: _forever(first=HEAD + b"Content-Length: 1000000000000000\r\n\r\n", then=b" " * 65536),
        "the answer has more than 8,388,608 bytes",
    ),
    "a body until the end of the connection": (
        lambda: _forever(first=HEAD + b"\r\n", then=b" " * 65536),
        "the answer has more than 8,388,608 bytes",
    ),
    "chunks": (
        lambda: _forever(
            first=HEAD + b"Transfer-Encoding: chunked\r\n\r\n", then=b"10000\r\n" + b" " * 65536 + b"\r\n"
        ),
        "the answer has more than 8,388,608 bytes",
    ),
    "a chunk of -1 bytes": (
        lambda: _forever(first=HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", then=b" " * 65536),
        "the answer has more than 8,388,608 bytes",
    ),
    "headers": (lambda: _forever(first=HEAD, then=b"X: x\r\n"), "HTTPException, 2 times"),
    "a header": (lambda: _forever(first=HEAD, then=b"X" * 65536), "LineTooLong, 2 times"),
    "less than it said": (lambda: [HEAD + b'Content-Length: 99\r\n\r\n{"data": []}'], "IncompleteRead, 2 times"),
    "nothing of HTTP": (lambda: [b"220 ESMTP\r\n"], "BadStatusLine, 2 times"),
}


@pytest.mark.parametrize(("make", "message"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_an_answer_is_read_to_a_limit(
    kazoo: HostileKazoo, load: Import, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Said], message: str
) -> None:
    """Whatever it says about its length; and nothing is decompressed."""
    monkeypatch.setattr(kazoo_client, "ATTEMPTS", 2)
    kazoo.answers[f"{ROOT}/devices"] = lambda _: make()
    with pytest.raises((KazooRefused, KazooUnreachable), match=message):
        load()


def _slowly(kazoo: HostileKazoo, *, first: bytes, then: bytes) -> Said:
    yield first
    while not kazoo.ending.wait(0.02):
        yield then


SLOW: dict[str, tuple[bytes, bytes]] = {
    "silence": (b"", b""),
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (HEAD + b"X: ", b"x"),
    "continue, and continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b" "),
    "a trailer": (HEAD + b'Transfer-Encoding: chunked\r\n\r\nc\r\n{"data": []}\r\n0\r\n', b"X: x\r\n"),
}


@pytest.mark.parametrize(("first", "then"), SLOW.values(), ids=SLOW)
def test_the_timeout_is_for_the_whole_answer(
    kazoo: HostileKazoo, load: Import, monkeypatch: pytest.MonkeyPatch, first: bytes, then: bytes
) -> None:
    """A byte now and then does not prolong it."""
    monkeypatch.setattr(kazoo_client, "ATTEMPTS", 2)
    kazoo.answers[f"{ROOT}/devices"] = lambda _: _slowly(kazoo, first=first, then=then)
    message = "no complete answer within 0.4 seconds, REGISTRATIONS_KAZOO_TIMEOUT, 2 times"
    with pytest.raises(KazooUnreachable, match=message):
        load(kazoo_timeout=0.4)


ECHOES: dict[str, tuple[str, Callable[[str], Said]]] = {
    "the ID of an account": (f"{ROOT}/descendants", lambda secret: below(id=secret)),
    "the account of the key": ("api_auth", lambda secret: said(auth_token=TOKEN, data={"account_id": secret})),
    "the ID of a device": (f"{ROOT}/devices", lambda secret: said(data=[{"id": secret}])),
    "the name of an account": (ROOT, lambda secret: said(data={"id": "root", "realm": "a.test", "name": secret})),
    "a realm": (ROOT, lambda secret: said(data={"id": "root", "realm": secret, "name": "Root"})),
    "a user": (f"{ROOT}/users", lambda secret: user(first_name=f"Anna {secret}")),
    "a presence ID": (DEVICE, lambda secret: device(presence_id=secret)),
    "a place": (f"{ROOT}/users", lambda secret: said(302, headers=[f"Location: https://{secret}.test"], data=[])),
    "a key of JSON": (DEVICE, lambda secret: raw(json.dumps({secret: 1}).replace("}", f', "{secret}": 2}}').encode())),
    "no JSON": (DEVICE, lambda secret: raw(secret.encode())),
    "a status": (DEVICE, lambda secret: [f"HTTP/1.1 500 {secret}\r\n\r\n".encode()]),
    "no status": (DEVICE, lambda secret: [f"{secret}\r\n\r\n".encode()]),
}


@pytest.mark.parametrize("secret", [API_KEY, TOKEN], ids=["key", "token"])
@pytest.mark.parametrize(("path", "make"), ECHOES.values(), ids=ECHOES)
def test_a_kazoo_that_says_our_secrets_is_not_repeated(
    kazoo: HostileKazoo,
    load: Import,
    capfd: pytest.CaptureFixture[str],
    database: psycopg.Connection,
    state: Path,
    path: str,
    make: Callable[[str], Said],
    secret: str,
) -> None:
    """Not in errors, nor in reports, files and tables."""
    kazoo.answers[path] = make(secret)
    with pytest.raises((KazooError, DirectoryRefused)) as error:
        load()
    assert secret not in str(error.value) + "".join(capfd.readouterr())
    assert [
        file for file in state.rglob("*") if secret in file.name + (file.read_text() if file.is_file() else "")
    ] == []
    assert directory(database) == [[], [], []]


def test_no_connection_to_postgresql_waits_for_kazoo(kazoo: HostileKazoo, load: Import, database_url: str) -> None:
    """A transaction that is open for hours would keep dead rows, and a lock the other imports out."""
    found: list[int] = []

    def look(target: str) -> Said:
        with psycopg.connect(database_url) as other:
            query = "select count(*) from pg_stat_activity where application_name = 'registrations import'"
            found.extend(row[0] for row in other.execute(query))
        return said(data=[{"id": "d1"}])

    kazoo.answers[f"{ROOT}/devices"] = look
    load()
    assert found == [0]


def test_whoever_has_the_key_does_not_change_within_an_import(kazoo: HostileKazoo, load: Import) -> None:
    """The token dies, and the next login gives another account."""

    def expire(target: str) -> Said:
        kazoo.answers["api_auth"] = said(auth_token=TOKEN, data={"account_id": "other"})
        return said(401, data={})

    kazoo.answers[f"{ROOT}/users"] = expire
    with pytest.raises(KazooRefused, match="account_id differs from the first login"):
        load()


@pytest.mark.parametrize("given", [True, "true"])
def test_superduper_admin_is_not_for_kazoo_to_give_or_take(
    kazoo: HostileKazoo, load: Import, database: psycopg.Connection, given: object
) -> None:
    """Also where the import has the rights of the tables' owner; SQL gives it, and no import takes it."""
    document = {"id": "root", "name": "Root", "realm": "root.test"}
    kazoo.answers[ROOT] = said(data={**document, "superduper_admin": given})
    load()
    query = "select superduper_admin from account"
    assert database.execute(query).fetchall() == [(False,)]
    database.execute("update account set superduper_admin = true")
    kazoo.answers[ROOT] = said(data={**document, "superduper_admin": False})
    load()
    assert database.execute(query).fetchall() == [(True,)]


@pytest.mark.parametrize("path", ["users", "devices", "descendants"])
@pytest.mark.parametrize("count", [3, 30])
def test_a_kazoo_that_lost_everything_deletes_nothing(
    kazoo: HostileKazoo, load: Import, database: psycopg.Connection, path: str, count: int
) -> None:
    """A handful of a few is no share to judge by, but none left is; of accounts the key's own is always left."""
    numbers = range(count)
    accounts = [kazoo.add_account(f"a{number}", tree=["root"], realm=f"a{number}.test") for number in numbers]
    kazoo.answers[f"{ROOT}/descendants"] = said(data=accounts)
    kazoo.answers[f"{ROOT}/users"] = said(data=[{"id": f"o{number}"} for number in numbers])
    kazoo.answers[f"{ROOT}/devices"] = said(data=[{"id": f"d{number}"} for number in numbers])
    for number in numbers:
        document = {"id": f"d{number}", "sip": {"username": f"u{number}"}}
        kazoo.answers[f"{ROOT}/devices/d{number}"] = said(data=document)
    load()
    before = directory(database)
    kazoo.answers[f"{ROOT}/{path}"] = said(data=[])
    if path == "descendants" and count == 3:
        load()
        return
    kind, there = {"users": ("owner", count), "devices": ("device", count), "descendants": ("account", count + 1)}[path]
    with pytest.raises(DirectoryRefused, match=f"this would delete {count} of {there} {kind}s, more than 20 %"):
        load()
    assert directory(database) == before
    assert getattr(load(delete_at_most=100), kind).deleted == count


def test_a_kazoo_without_the_account_of_the_key_is_refused(
    kazoo: HostileKazoo, load: Import, database: psycopg.Connection
) -> None:
    """It answers 404 for everything but the login and the lists."""
    load()
    before = directory(database)
    del kazoo.answers[ROOT]
    with pytest.raises(KazooRefused, match="Kazoo does not have the account of the API key"):
        load()
    assert directory(database) == before


@pytest.mark.parametrize(
    "url",
    [
        "http://kazoo.test:8000",
        "http://192.0.2.1",
        "HTTP://10.0.0.1",
        "http://127.0.0.1.evil.test",
        "http://[2001:db8::1]",
    ],
)
def test_http_over_a_network_is_refused_unless_a_setting_says_so(url: str, state: Path) -> None:
    """The error names the setting; nothing is sent."""
    settings = KazooSettings(kazoo_api_key=API_KEY, kazoo_directory=state)
    with pytest.raises(KazooRefused, match="use https, or set REGISTRATIONS_KAZOO_PLAIN_HTTP=true"):
        KazooClient(url, settings, wait=lambda _: None)
    KazooClient(url, settings.model_copy(update={"kazoo_plain_http": True}), wait=lambda _: None)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.9", "http://[::1]:8000/", "https://a.test/v2"]
)
def test_https_and_this_machine_are_not(url: str, state: Path) -> None:
    """A proxy for TLS may be on this machine."""
    KazooClient(url, KazooSettings(kazoo_api_key=API_KEY, kazoo_directory=state), wait=lambda _: None)


@pytest.mark.parametrize(
    "url",
    ["", "kazoo.test", "ftp://a.test", "file:///etc", "https://", "https://a.test:0", "https://a.test:99999", "https://[",
     "https://a.test/?x", "https://a.test/#x", "https://a b.test", "https://a.test/\r\nX: y", f"https://{'a' * 64}.te"],
)  # fmt: skip
def test_what_is_no_url_of_a_kazoo_is_refused(url: str, state: Path) -> None:
    """In one line that shows what one is like."""
    with pytest.raises(KazooRefused, match=r"must be like https://kazoo.example.com:8443"):
        KazooClient(url, KazooSettings(kazoo_api_key=API_KEY, kazoo_directory=state), wait=lambda _: None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of this machine and of another host, each its own CA, with the keys in the same files."""
    path = tmp_path_factory.mktemp("certificates")
    for name, names in (("ours", "IP:127.0.0.1"), ("another", "DNS:another.test")):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-days", "2"]
        command += ["-keyout", str(path / f"{name}.key"), "-out", str(path / name)]
        subprocess.run(command, check=True, capture_output=True)
        with (path / name).open("a") as file:
            file.write((path / f"{name}.key").read_text())
    return {name: path / name for name in ("ours", "another")}


@pytest.mark.parametrize(
    ("shown", "trusted", "fault"),
    [
        ("ours", None, "self-signed certificate"),
        ("ours", "another", "self-signed certificate"),
        ("another", "another", "IP address mismatch"),
        ("ours", "ours", None),
    ],
)
def test_a_certificate_is_verified(
    certificates: dict[str, Path],
    database_url: str,
    database: psycopg.Connection,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    shown: str,
    trusted: str | None,
    fault: str | None,
) -> None:
    """By the CAs that this machine trusts, or those of SSL_CERT_FILE; before that nothing is sent."""
    if trusted is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates[trusted]))
    with hostile_kazoo(certificate=certificates[shown]) as kazoo:
        client = KazooClient(
            kazoo.url, KazooSettings(kazoo_api_key=API_KEY, kazoo_directory=state), wait=lambda _: None
        )
        if fault is None:
            assert client.log_in() == "root"
            client.close()
            return
        with pytest.raises(KazooRefused, match=f"certificate of 127.0.0.1:.* is not valid: {fault}.*SSL_CERT_FILE"):
            client.log_in()
    assert kazoo.heard == b""


def test_files_that_cannot_be_written_are_no_bug(load: Import, state: Path) -> None:
    """A full disk, or a directory of another user."""
    state.write_text("in the way")
    with pytest.raises(KazooRefused, match=r"REGISTRATIONS_KAZOO_DIRECTORY: .*state"):
        load()
