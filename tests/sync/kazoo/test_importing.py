"""`registrations-sync import-kazoo`: what Kazoo's documents become, and what a pull stands on its way."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from sql.settings import DatabaseSettings
from sync.kazoo.client import KazooClient
from sync.kazoo.command import import_kazoo_command
from sync.kazoo.errors import KazooRefused, KazooUnreachable
from sync.kazoo.importing import import_from_kazoo
from sync.kazoo.pull import pulled
from sync.kazoo.settings import KazooSettings
from tests.stand.process import wait_until
from tests.stand.stand_in_kazoo import API_KEY, StandInKazoo, stand_in_kazoo

RunImport = Callable[..., Result]
RATE = 1000.0


@pytest.fixture
def kazoo() -> Iterator[StandInKazoo]:
    """A reseller with two accounts, one below the other."""
    with stand_in_kazoo() as running:
        running.add_account("root", tree=[], name="Root", realm="root.test", superduper_admin=True)
        running.add_account("acme", tree=["root"], name="Acme", realm="Acme.test")
        running.add_account("branch", tree=["root", "acme"], name="Branch", realm="branch.test", enabled=False)
        running.add_user("acme", "anna", first_name="Anna", last_name="Schmidt", presence_id="100")
        running.add_user("acme", "bert", username="bert@acme.test", enabled=False)
        running.add_user("acme", "cleo", first_name="Cleo")
        device = {"sip": {"username": "Desk_1", "password": "secret", "method": "password"}}
        running.add_device("acme", "d1", name="Desk", owner_id="anna", **device)
        running.add_device("acme", "d2", owner_id="bert", sip={"username": "bert", "password": "x"})
        running.add_device("acme", "d3", owner_id="gone", sip={"username": "u3", "realm": "Own.test", "password": "y"})
        running.add_device("acme", "d4", sip={"username": "trunk", "method": "ip", "ip": "192.0.2.1"})
        running.add_device("acme", "d5", device_type="cellphone")
        running.add_device("branch", "d6", enabled=False, register_overwrite_notify=True, sip={"username": "u6"})
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> KazooSettings:
    return KazooSettings(kazoo_api_key=API_KEY, kazoo_rate=RATE, kazoo_directory=tmp_path / "state")


@pytest.fixture
def run_import(kazoo: StandInKazoo, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunImport:
    """The command in this process, with the key in a file."""
    key = tmp_path / "key"
    key.write_text(f"{API_KEY}\n")
    monkeypatch.setenv("REGISTRATIONS_DATABASE_URL", database_url)
    monkeypatch.setenv("REGISTRATIONS_KAZOO_API_KEY_FILE", str(key))
    monkeypatch.setenv("REGISTRATIONS_KAZOO_RATE", str(RATE))
    monkeypatch.setenv("REGISTRATIONS_KAZOO_DIRECTORY", str(tmp_path / "state"))

    def run(*options: str) -> Result:
        return CliRunner().invoke(import_kazoo_command, [kazoo.url, *options])

    return run


def client(kazoo: StandInKazoo, settings: KazooSettings, waits: list[float] | None = None) -> KazooClient:
    """A client that waits for nothing, but notes how long it would have."""
    noted = [] if waits is None else waits
    return KazooClient(kazoo.url, settings, wait=noted.append)


def pull(kazoo: StandInKazoo, settings: KazooSettings, waits: list[float] | None = None) -> dict[str, str]:
    """The files of a pull, by their names."""
    with pulled(client(kazoo, settings, waits), settings.kazoo_directory, report=print) as files:
        return {Path(file).name: Path(file).read_text() for file in files}


def table(database: psycopg.Connection, query: str) -> list[Any]:
    return database.execute(query).fetchall()


def ha1(username: str, realm: str, password: str) -> str:
    return hashlib.md5(f"{username}:{realm}:{password}".encode()).hexdigest()


def test_a_tree_of_kazoo_becomes_the_directory(run_import: RunImport, database: psycopg.Connection) -> None:
    """Accounts with their parents, users as owners, devices with the hash of their password in their realm."""
    result = run_import()
    assert result.exit_code == 0, result.output
    assert table(database, "select id, parent_id, name, realm, enabled, superduper_admin from account order by id") == [
        ("acme", "root", "Acme", "acme.test", True, False),
        ("branch", "acme", "Branch", "branch.test", False, False),
        ("root", None, "Root", "root.test", True, False),
    ]
    assert table(database, "select id, account_id, name from owner order by id") == [
        ("anna", "acme", "Anna Schmidt"),
        ("bert", "acme", "bert@acme.test"),
        ("cleo", "acme", "Cleo"),
    ]
    columns = "id, account_id, owner_id, sip_username, realm, ha1, enabled, presence_id, register_overwrite_notify"
    assert table(database, f"select {columns} from device order by id") == [
        (
            "d1",
            "acme",
            "anna",
            "Desk_1",
            "acme.test",
            ha1("Desk_1", "acme.test", "secret"),
            True,
            "100@acme.test",
            False,
        ),
        ("d2", "acme", "bert", "bert", "acme.test", ha1("bert", "acme.test", "x"), False, "bert@acme.test", False),
        ("d3", "acme", None, "u3", "own.test", ha1("u3", "own.test", "y"), True, "u3@acme.test", False),
        ("d6", "branch", None, "u6", "branch.test", None, False, "u6@branch.test", True),
    ]
    again = run_import()
    assert "devices: 0 created, 0 updated, 4 unchanged" in again.output


def test_with_replace_what_kazoo_has_no_more_goes(
    run_import: RunImport, kazoo: StandInKazoo, database: psycopg.Connection
) -> None:
    """Without it stays; the share of devices that may go is that of every import."""
    run_import()
    del kazoo.devices["acme"]["d2"]
    run_import()
    assert table(database, "select count(*) from device") == [(4,)]
    run_import("--replace")
    assert table(database, "select count(*) from device") == [(3,)]
    for number in range(30):
        kazoo.add_device("branch", f"more-{number}", sip={"username": f"more-{number}"})
    run_import()
    kazoo.devices["branch"].clear()
    refused = run_import("--replace")
    assert refused.exit_code == 1
    assert "this would delete 31 of 33 devices" in refused.output
    assert run_import("--replace", "--delete-at-most", "100").exit_code == 0
    assert table(database, "select count(*) from device") == [(2,)]


def test_what_passes_is_waited_for(kazoo: StandInKazoo, settings: KazooSettings) -> None:
    """A token that died, too many requests, a failing node and connections that break cost time and nothing else."""
    undisturbed = pull(kazoo, settings)
    kazoo.faults = [(401, {}), (429, {"Retry-After": "7"}), None, (503, {}), (503, {"Retry-After": "soon"}), None]
    waits: list[float] = []
    assert pull(kazoo, settings, waits) == undisturbed
    assert kazoo.faults == []
    assert 7.0 in waits
    assert kazoo.asked["api_auth"] == 3  # once each, and once more for the token that died


def test_a_pull_that_broke_off_goes_on_where_it_was(kazoo: StandInKazoo, settings: KazooSettings) -> None:
    """No document is asked for twice, and what went meanwhile is not in the files."""
    kazoo.fail_at = "accounts/acme/devices/d3"
    with pytest.raises(KazooUnreachable, match="d3: HTTP status 503, 8 times"):
        pull(kazoo, settings)
    kazoo.fail_at = None
    del kazoo.devices["acme"]["d2"]
    kazoo.asked.clear()
    files = pull(kazoo, settings)
    assert [line.split(",")[0] for line in files["devices.csv"].splitlines()[1:]] == ["d1", "d3", "d6"]
    documents = {path for path in kazoo.asked if "/devices/" in path or path in {"accounts/acme", "accounts/branch"}}
    assert documents == {
        *(f"accounts/acme/devices/d{number}" for number in (3, 4, 5)),
        "accounts/branch",
        "accounts/branch/devices/d6",
    }
    kazoo.asked.clear()
    pull(kazoo, settings)
    assert kazoo.asked["accounts/acme/devices/d1"] == 1, "what was pulled to its end is not used again"


def test_a_line_that_a_kill_cut_short_is_made_again(kazoo: StandInKazoo, settings: KazooSettings) -> None:
    """The process may die at any byte."""
    kazoo.fail_at = "accounts/branch"
    with pytest.raises(KazooUnreachable):
        pull(kazoo, settings)
    journal = settings.kazoo_directory / "kazoo-root" / "journal"
    journal.write_bytes(journal.read_bytes()[:-3])
    kazoo.fail_at = None
    kazoo.asked.clear()
    files = pull(kazoo, settings)
    assert len(files["devices.csv"].splitlines()) == 5
    assert kazoo.asked["accounts/acme/devices/d5"] == 1
    assert kazoo.asked["accounts/acme/devices/d4"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda journal: bytes(len(journal)),
        lambda journal: journal[:80] + bytes(4096) + b"\n" + journal[80:],
        lambda journal: journal.replace(b"Acme", b"\xff\xfe"),
        lambda journal: b"[]\n" + journal,
        lambda journal: journal + b"5\n",
        lambda journal: journal + b"[" * 100_000 + b"\n",
        lambda journal: journal + b'["accounts/acme/devices/d5", {"id": "d5"}]\n',
    ],
    ids=["zeros", "zeros within", "no text", "no time", "no pair", "too deep", "no row"],
)
def test_a_journal_that_a_power_failure_damaged_is_not_believed(
    kazoo: StandInKazoo, settings: KazooSettings, damage: Callable[[bytes], bytes]
) -> None:
    """The file system may have written its length and not its blocks; all is pulled anew."""
    undamaged = pull(kazoo, settings)
    kazoo.fail_at = "accounts/branch"
    with pytest.raises(KazooUnreachable):
        pull(kazoo, settings)
    journal = settings.kazoo_directory / "kazoo-root" / "journal"
    journal.write_bytes(damage(journal.read_bytes()))
    kazoo.fail_at = None
    kazoo.asked.clear()
    assert pull(kazoo, settings) == undamaged
    assert kazoo.asked["accounts/acme/devices/d1"] == 1


def test_what_was_pulled_long_ago_is_pulled_again(kazoo: StandInKazoo, settings: KazooSettings) -> None:
    """After a day it may not be true any more."""
    kazoo.fail_at = "accounts/branch"
    with pytest.raises(KazooUnreachable):
        pull(kazoo, settings)
    journal = settings.kazoo_directory / "kazoo-root" / "journal"
    journal.write_text("\n".join([str(time.time() - 86401), *journal.read_text().splitlines()[1:], ""]))
    kazoo.fail_at = None
    kazoo.asked.clear()
    pull(kazoo, settings)
    assert kazoo.asked["accounts/acme/devices/d1"] == 1


def test_the_pace_is_that_of_the_setting(kazoo: StandInKazoo, settings: KazooSettings) -> None:
    """Between two requests lies at least the interval, less what the first one took."""
    waits: list[float] = []
    slow = settings.model_copy(update={"kazoo_rate": 0.01})
    pull(kazoo, slow, waits)
    pauses = [wait for wait in waits if wait]  # the others only ask whether it is time to end
    assert len(pauses) == sum(kazoo.asked.values()) - 1
    assert all(50 < pause <= 100 for pause in pauses)


def test_neither_password_nor_key_is_ever_written(
    run_import: RunImport, kazoo: StandInKazoo, tmp_path: Path, database: psycopg.Connection
) -> None:
    """Hashes are, for their owner alone, until the import is done; the key is in no message."""
    kazoo.devices["acme"]["d1"]["sip"]["password"] = "open sesame"
    kazoo.add_device("acme", "bad", sip={"username": "jörg", "password": "open sesame"})
    refused = run_import()
    assert refused.exit_code == 1
    assert "devices.csv line 5: sip_username" in refused.output
    assert "a SIP username is ASCII" in refused.output
    state = tmp_path / "state" / "kazoo-root"
    for file in state.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "open sesame" not in file.read_text()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    del kazoo.devices["acme"]["bad"]
    mended = run_import()
    assert mended.exit_code == 0, mended.output
    assert [file.name for file in state.iterdir() if file.stat().st_size] == []
    assert API_KEY not in refused.output + mended.output


def test_a_realm_does_not_become_another_by_its_lower_case(run_import: RunImport, kazoo: StandInKazoo) -> None:
    """The Kelvin sign's is the letter k, so its check would come too late."""
    kazoo.add_device("acme", "bad", sip={"username": "u", "realm": "\N{KELVIN SIGN}.test", "password": "y"})
    refused = run_import()
    assert refused.exit_code == 1
    assert "a realm is ASCII" in refused.output


@pytest.mark.parametrize(
    ("key", "message"),
    [("wrong", "api_auth: Kazoo answers 401"), (None, "set REGISTRATIONS_KAZOO_API_KEY_FILE, or")],
)
def test_a_key_that_kazoo_does_not_know_is_said_at_once(
    run_import: RunImport, kazoo: StandInKazoo, monkeypatch: pytest.MonkeyPatch, key: str | None, message: str
) -> None:
    """One line that does not hold the key, exit 1."""
    monkeypatch.delenv("REGISTRATIONS_KAZOO_API_KEY_FILE")
    if key is not None:
        monkeypatch.setenv("REGISTRATIONS_KAZOO_API_KEY", key)
    result = run_import()
    assert result.exit_code == 1
    assert message in result.output
    assert "wrong" not in result.output
    assert kazoo.asked["api_auth"] == (0 if key is None else 1)


def test_a_url_with_a_password_is_refused_without_its_text(settings: KazooSettings) -> None:
    """It would stand in the list of processes."""
    with pytest.raises(KazooRefused, match="has a user or a password") as refused:
        KazooClient("https://admin:mystery@kazoo.test:8443", settings, wait=lambda _: None)
    assert "mystery" not in str(refused.value)


def test_one_pull_at_a_time(kazoo: StandInKazoo, settings: KazooSettings) -> None:
    """Two would write the same files."""
    state = settings.kazoo_directory / "kazoo-root"
    state.mkdir(parents=True)
    with (state / "journal").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(KazooRefused, match="another import from Kazoo is running"):
            pull(kazoo, settings)


def test_a_killed_import_leaves_nothing_half_done(
    kazoo: StandInKazoo, settings: KazooSettings, database: psycopg.Connection, database_url: str
) -> None:
    """The command dies by SIGKILL within the pull; the next one ends it."""
    environment = {
        **os.environ,
        "REGISTRATIONS_DATABASE_URL": database_url,
        "REGISTRATIONS_KAZOO_API_KEY": API_KEY,
        "REGISTRATIONS_KAZOO_RATE": "1000",
        "REGISTRATIONS_KAZOO_DIRECTORY": str(settings.kazoo_directory),
    }
    command = [str(Path(sys.executable).parent / "registrations-sync"), "import-kazoo", kazoo.url]
    kazoo.fail_at = "accounts/branch"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as first:
        wait_until(lambda: kazoo.asked["accounts/branch"], 20, "the pull to come to the second account")
        first.kill()
    assert table(database, "select count(*) from account") == [(0,)]
    kazoo.fail_at = None
    kazoo.asked.clear()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "resuming an interrupted import" in done.stderr
    assert kazoo.asked["accounts/acme/devices/d1"] == 0
    assert table(database, "select count(*) from device") == [(4,)]


def test_who_may_not_go_on_after_the_pull_writes_nothing(
    kazoo: StandInKazoo, settings: KazooSettings, database: psycopg.Connection, database_url: str
) -> None:
    """A worker that was frozen until then leads no more, which its `wait` tells: also after Kazoo's last answer."""

    class Deposed(Exception):
        """Stands for the worker's."""

    def wait(_seconds: float) -> None:
        if kazoo.asked["accounts/branch/devices/d6"]:
            raise Deposed

    with pytest.raises(Deposed):
        import_from_kazoo(
            kazoo.url,
            settings,
            DatabaseSettings(database_url=database_url),
            replace=True,
            delete_at_most=100,
            wait=wait,
            report=print,
        )
    assert table(database, "select from device") == []
