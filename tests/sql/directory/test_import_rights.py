"""What an import by the role registrations_import cannot do: give an account rights in the API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from sql.connections.database import Connection, connect
from sql.directory.command import import_command
from sql.directory.importing import import_directory
from sql.directory.writing import ImportCounts, KindCounts
from sql.errors import DirectoryRefused
from sql.settings import DatabaseSettings
from sync.kazoo.importing import import_from_kazoo
from sync.kazoo.settings import KazooSettings
from tests.stand.postgres import Cluster
from tests.stand.stand_in_kazoo import API_KEY, stand_in_kazoo

ROLE = "registrations_import"
ADMIN = {"id": "admin", "name": "Admin", "realm": "admin.example", "superduper_admin": True, "api_key": "open sesame"}
PLAIN = {"id": "plain", "name": "Plain", "realm": "plain.example"}
RIGHTS = "select id, superduper_admin, api_key_hash from account order by id"


@pytest.fixture
def importer(database: psycopg.Connection, postgres: Cluster) -> Iterator[Connection]:
    """A connection with the rights of that role."""
    url = postgres.url(database.info.dbname, user=ROLE)
    with connect(DatabaseSettings(database_url=url), application_name="test") as connection:
        yield connection


def load(connection: Connection, directory: Path, *, replace: bool = False, **contents: Any) -> ImportCounts:
    file = directory / "d.json"
    file.write_text(json.dumps(contents))
    return import_directory(connection, [str(file)], replace=replace, report=print)


def test_it_imports_everything_else(importer: Connection, database: psycopg.Connection, tmp_path: Path) -> None:
    """Realms change places, devices move, what the files do not have goes."""
    accounts: list[dict[str, Any]] = [PLAIN, {"id": "child", "name": "C", "realm": "c.example", "parent_id": "plain"}]
    device = {"id": "d", "account_id": "plain", "owner_id": "o", "sip_username": "bob", "password": "secret"}
    owner = {"id": "o", "account_id": "plain"}
    load(importer, tmp_path, accounts=accounts, owners=[owner], devices=[device])
    accounts = [{**PLAIN, "realm": "c.example"}, {**accounts[1], "realm": "plain.example", "enabled": False}]
    moved = {**device, "account_id": "child", "owner_id": "", "enabled": False}
    load(importer, tmp_path, accounts=accounts, owners=[owner], devices=[moved])
    load(importer, tmp_path, replace=True, accounts=[accounts[0]], owners=[], devices=[])
    assert database.execute(RIGHTS).fetchall() == [("plain", False, None)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"superduper_admin": True}, "superduper_admin"),
        ({"api_key": "mine"}, "api_key"),
        ({"api_key_hash": "0" * 64}, "api_key"),
        ({"id": "new", "realm": "new.example", "superduper_admin": True}, "superduper_admin"),
        ({"id": "new", "realm": "new.example", "api_key": "mine"}, "api_key"),
        ({**ADMIN, "superduper_admin": False}, "superduper_admin"),
        ({**ADMIN, "api_key": "mine"}, "api_key"),
    ],
)
def test_what_it_may_not_give_is_refused_by_name(
    importer: Connection, database: psycopg.Connection, tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    """One line with account, key and cure; and nothing is imported."""
    assert load(database, tmp_path, accounts=[ADMIN, PLAIN]).account.created == 2
    before = database.execute("select xmin::text, account::text from account order by 2").fetchall()
    account = {**PLAIN, **change}
    with pytest.raises(DirectoryRefused) as refused:
        load(importer, tmp_path, accounts=[account, {"id": "other", "name": "O", "realm": "o.example"}])
    (problem,) = refused.value.problems
    assert problem.partition("d.json: accounts[0].")[2] == (
        f'{field}: role "registrations_import" may not change this of account "{account["id"]}": '
        "import it once as the owner of the table account, or leave it out"
    )
    assert database.execute("select xmin::text, account::text from account order by 2").fetchall() == before


def test_what_the_database_has_already_may_stand_in_its_files(
    importer: Connection, database: psycopg.Connection, tmp_path: Path
) -> None:
    """The owner imports a file once, and this role the same one each night, with other changes."""
    load(database, tmp_path, accounts=[ADMIN, PLAIN])
    rights = database.execute(RIGHTS).fetchall()
    assert rights == [("admin", True, hashlib.sha256(b"open sesame").digest()), ("plain", False, None)]
    counts = load(importer, tmp_path, accounts=[{**ADMIN, "realm": "new.example"}, PLAIN])
    assert counts.account == KindCounts(updated=1, unchanged=1)
    bare = {name: ADMIN[name] for name in ("id", "name", "realm")}
    load(importer, tmp_path, replace=True, accounts=[bare, PLAIN], owners=[], devices=[])
    assert database.execute(RIGHTS).fetchall() == rights


def test_an_id_that_a_token_names_does_not_change_hands(
    importer: Connection, database: psycopg.Connection, tmp_path: Path
) -> None:
    """A token of one account would else be the superduper admin's."""
    load(database, tmp_path, accounts=[ADMIN, PLAIN])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        importer.execute(
            "with away as (update account set id = 'gone' where id = 'plain') "
            "update account set id = 'plain' where id = 'admin'"
        )


def test_its_command_leaves_registrations_to_the_worker(
    database: psycopg.Connection, postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It succeeds, and says who goes on."""
    monkeypatch.setenv("REGISTRATIONS_DATABASE_URL", postgres.url(database.info.dbname, user=ROLE))
    (tmp_path / "d.json").write_text(json.dumps({"accounts": [PLAIN]}))
    result = CliRunner().invoke(import_command, [str(tmp_path / "d.json")])
    assert result.exit_code == 0, result.output
    assert "the worker does it, within REGISTRATIONS_SYNC_RECONCILE_INTERVAL" in result.output
    assert database.execute(RIGHTS).fetchall() == [("plain", False, None)]


def test_kazoo_makes_no_superduper_admin(database: psycopg.Connection, postgres: Cluster, tmp_path: Path) -> None:
    """Whoever has Kazoo does not have the API, and one who is admin here does not hinder the import."""
    settings = KazooSettings(kazoo_api_key=API_KEY, kazoo_rate=1000, kazoo_directory=tmp_path)
    database_settings = DatabaseSettings(database_url=postgres.url(database.info.dbname, user=ROLE))
    with stand_in_kazoo() as kazoo:
        kazoo.add_account("root", tree=[], name="Root", realm="root.test", superduper_admin=True)
        for name in ("acme", "more"):
            kazoo.add_account(name, tree=["root"], name=name, realm=f"{name}.test", superduper_admin=True)
            import_from_kazoo(
                kazoo.url,
                settings,
                database_settings,
                replace=True,
                delete_at_most=20,
                wait=lambda _: None,
                report=print,
            )
            database.execute("update account set superduper_admin = true where id = 'acme'")
    expected = [("acme", True, None), ("more", False, None), ("root", False, None)]
    assert database.execute(RIGHTS).fetchall() == expected
