"""`make demo` works: the commands that it prints work when pasted, and it leaves no process behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.demo.help import write_environment
from tests.demo.phones import CHILDS, OTHER_CHILDS, RESELLERS
from tests.demo.sample import read_sample
from tests.demo.settings import has_ipv6, read_settings
from tests.demo.show import Tokens
from tests.stand.onlooker import seen_in
from tests.stand.phone import Phone
from tests.stand.process import free_port, wait_until

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).resolve().parents[2]
VARIABLES = {
    "API_URL", "ADMIN_AUTH_TOKEN", "ACCOUNT_ID", "AUTH_TOKEN", "CHILD_ACCOUNT_ID", "CHILD_AUTH_TOKEN",
    "SIP_PROXY", "KAMAILIO_RPC", "DATABASE_URL", "SIP_USERNAME", "SIP_REALM", "SIP_PASSWORD",
    "REGISTRATIONS_KAMAILIO_RPC", "REGISTRATIONS_DATABASE_URL",
}  # fmt: skip
START_SECONDS, END_SECONDS = 60, 10
NO_HTTP_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Demo:
    """The demo as a user runs it, in its own directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory / "output"
        self.environment = {**os.environ, "DEMO_DIRECTORY": str(directory / "state")}
        for name in ("DEMO_API_PORT", "DEMO_SIP_PORT", "DEMO_RPC_PORT", "DEMO_PG_PORT"):
            self.environment[name] = str(free_port())
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it and return at once."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command(), cwd=REPOSITORY, env=self.environment, stdout=output, stderr=output
            )
        return self.process

    def start(self) -> None:
        """Start it and wait until it is ready."""
        process = self.launch()
        wait_until(lambda: self.env_file.exists() or process.poll() is not None, START_SECONDS, "the demo")
        assert process.poll() is None, self.output.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=END_SECONDS)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return subprocess.run(
            self.command(*words), cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tests.demo", *words]

    @property
    def env_file(self) -> Path:
        return self.directory / "state" / "env"

    def variables(self) -> dict[str, str]:
        """Return the shell variables, as a shell reads them."""
        said = subprocess.run(["sh", "-c", f". {self.env_file}; exec env"], env={}, capture_output=True, check=True)
        values = dict(line.split("=", 1) for line in said.stdout.decode().splitlines())
        return {name: value for name, value in values.items() if name in VARIABLES}

    def get(self, path: str, *, token: str = "AUTH_TOKEN", method: str = "GET") -> tuple[int, Any]:
        """Ask the API; return status and body."""
        variables = self.variables()
        request = urllib.request.Request(
            variables["API_URL"] + path, method=method, headers={"X-Auth-Token": variables[token]}
        )
        try:
            with NO_HTTP_PROXY.open(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def leftovers(self) -> list[str]:
        """Return the command lines of all processes that have this demo's directory or ports."""
        marks = [
            str(self.directory),
            *(f"127.0.0.1:{self.environment[name]}" for name in ("DEMO_API_PORT", "DEMO_PG_PORT")),
        ]
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                texts = [(process / name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:
                continue
            words = b"\0".join(texts).decode(errors="replace")
            if int(process.name) != os.getpid() and any(mark in words for mark in marks):
                found.append(words.replace("\0", " ")[:200])
        return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests that do not stop it."""
    running = Demo(tmp_path_factory.mktemp("demo"))
    running.start()
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture
def eventually(demo: Demo) -> Callable[[Callable[[], object], float, str], None]:
    """Wait for a condition; if it does not come true, show the demo's output."""

    def wait(condition: Callable[[], object], timeout: float, what: str) -> None:
        try:
            wait_until(condition, timeout, what, interval=0.2)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{demo.output.read_text()}") from None

    return wait


def registrations(account: str) -> str:
    return f"/v2/accounts/{account}/registrations"


def test_nobody_else_ever_reads_the_env_file(tmp_path: Path) -> None:
    """The file with tokens and a password is never readable for other users, not even while it is written."""
    settings = read_settings({"DEMO_DIRECTORY": str(tmp_path)})
    stack = Mock(api_url="", rpc_url="")
    with seen_in(tmp_path) as seen:
        write_environment(stack, settings, read_sample(), Tokens(admin="a", reseller="b", child="c"))
    assert {mode for _, mode, _ in seen} == {0o600}


def test_env_file_has_every_variable(demo: Demo) -> None:
    """.demo/env has every variable of the README's examples, and only its owner may read it."""
    assert demo.variables().keys() == VARIABLES
    assert all(demo.variables().values())
    assert demo.env_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("command", "says"),
    [("registrations-sync check", "a worker leads"), ("registrations-db token list", "Harbour Dental")],
)
def test_our_commands_find_the_demo(demo: Demo, command: str, says: str) -> None:
    """Once a shell has sourced .demo/env, they need no setting more."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", f". {demo.env_file}; {command}"], env={"PATH": path}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert says in done.stdout


# Times and durations differ from run to run.
TIMES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00|\b\d\d:\d\d:\d\d\b")
REPORTS = re.compile(r"^```sql\n(.*?)^```\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _lines(table: str) -> list[str]:
    return [" ".join(TIMES.sub("TIME", line).split()) for line in table.strip().splitlines()]


def test_reports_say_what_their_document_shows(demo: Demo) -> None:
    """Every report of sql/README.md, run as the report role, has the output shown there, except for times."""
    text = (REPOSITORY / "sql" / "README.md").read_text(encoding="utf-8")
    reports = REPORTS.findall(text.split("### Ten reports")[1])
    assert len(reports) == 10
    url = demo.variables()["DATABASE_URL"]
    environment = {**os.environ, "PGTZ": "UTC", "PGCLIENTENCODING": "UTF8"}
    for query, shown in reports:
        if "127.0.0.0/8" in query and not has_ipv6():
            continue
        command = ["psql", "-X", "-c", "set role registrations_report", "-c", query, url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        assert _lines(done.stdout)[1:] == _lines(shown), query


@pytest.mark.parametrize(
    ("account", "models"), [("reseller", RESELLERS), ("child", CHILDS), ("other_child", OTHER_CHILDS)]
)
def test_every_phone_is_listed(demo: Demo, account: str, models: tuple[Any, ...]) -> None:
    """The list of each account has exactly its simulated phones, and the count is its length."""
    account_id = getattr(read_sample(), account).id
    status, listed = demo.get(registrations(account_id))
    assert status == 200
    assert Counter((row["username"], row["user_agent"]) for row in listed["data"]) == Counter(
        (model.username, model.user_agent) for model in models
    )
    assert demo.get(registrations(account_id) + "/count")[1]["data"] == {"count": len(models)}


def test_phones_differ_in_transport_and_address_family(demo: Demo) -> None:
    """The sample has UDP, TCP and WebSocket, an .invalid contact host and an IPv6 address."""
    rows = demo.get(registrations(demo.variables()["ACCOUNT_ID"]))[1]["data"]
    assert {row["proxy_protocol"] for row in rows} == {"udp", "tcp", "ws"}
    assert any(row["contact_ip"].endswith(".invalid") for row in rows)
    assert any(row["contact_ip"].startswith("[") for row in rows)


def test_printed_commands_got_the_promised_answers(demo: Demo) -> None:
    """Every endpoint is shown with a command and its answer, errors included."""
    said = demo.output.read_text()
    assert said.count("\ncurl -sS ") == 11
    for answer in (
        '"data": "ok"',
        '"data": "sync request sent", "sent": 2, "failed": 0, "status": "success"',
        '"error": "401"',
        '"error": "403"',
        '["nosuch"], "error": "404"',
        '"status": "ready"',
    ):
        assert answer in said
    assert "Ctrl-C stops everything.\n" in said


def test_tokens_open_what_they_should(demo: Demo) -> None:
    """The reseller's token opens the child, the child's does not open the reseller, the superduper's opens all."""
    variables = demo.variables()
    parent, child = registrations(variables["ACCOUNT_ID"]), registrations(variables["CHILD_ACCOUNT_ID"])
    assert demo.get(child)[0] == 200
    assert demo.get(child, token="CHILD_AUTH_TOKEN")[0] == 200
    assert demo.get(parent, token="CHILD_AUTH_TOKEN")[0] == 403
    assert demo.get(parent, token="ADMIN_AUTH_TOKEN")[0] == 200


def test_own_phone_registers_and_is_listed(demo: Demo) -> None:
    """The credentials in .demo/env are those of a device that no simulated phone uses."""
    variables = demo.variables()
    host, _, port = variables["SIP_PROXY"].rpartition(":")
    mine = registrations(variables["ACCOUNT_ID"])

    def listed() -> list[str]:
        return [row["username"] for row in demo.get(mine)[1]["data"]]

    assert variables["SIP_USERNAME"] not in listed()
    with Phone(
        variables["SIP_USERNAME"], variables["SIP_REALM"], variables["SIP_PASSWORD"], proxy=(host, int(port))
    ) as phone:
        assert phone.register().status == 200
        assert variables["SIP_USERNAME"] in listed()
        assert phone.unregister().status == 200
    assert variables["SIP_USERNAME"] not in listed()


def test_flushed_phones_come_back(demo: Demo, eventually: Callable[..., None]) -> None:
    """A flushed phone is gone at once, and registers again after half of its 60 seconds."""
    child = registrations(demo.variables()["CHILD_ACCOUNT_ID"])
    before = demo.get(child + "/count")[1]["data"]["count"]
    assert demo.get(child + "/frontdesk", method="DELETE")[0] == 200
    assert demo.get(child + "/count")[1]["data"]["count"] == before - 1
    eventually(lambda: demo.get(child + "/count")[1]["data"]["count"] == before, 45, "the phone to come back")


def test_second_demo_in_the_same_directory_is_refused(demo: Demo) -> None:
    """It says that a demo runs here already, and that one keeps running."""
    second = demo.run()
    assert second.returncode == 1
    assert "runs here already" in second.stderr
    assert demo.env_file.exists()


@pytest.mark.parametrize("name", ["DEMO_API_PORT", "DEMO_SIP_PORT", "DEMO_RPC_PORT", "DEMO_PG_PORT"])
def test_taken_port_is_named_before_anything_starts(tmp_path: Path, name: str) -> None:
    """One line names the port, its purpose, and the variable that changes it."""
    refused = Demo(tmp_path)
    kind = socket.SOCK_DGRAM if name == "DEMO_SIP_PORT" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", int(refused.environment[name])))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        done = refused.run()
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert refused.environment[name] in done.stderr
    assert f"{name}=" in done.stderr
    assert not (tmp_path / "state" / "postgres").exists()


@pytest.mark.parametrize("value", ["sip", "0", "65536", "-1"])
def test_bad_port_is_named(tmp_path: Path, value: str) -> None:
    """A value that is not a port is refused with the name of its variable."""
    refused = Demo(tmp_path)
    refused.environment["DEMO_SIP_PORT"] = value
    done = refused.run()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "DEMO_SIP_PORT" in done.stderr


def test_database_may_be_stopped_and_started(demo: Demo, eventually: Callable[..., None]) -> None:
    """Without PostgreSQL the API answers 503. Once it is back everything works again without a restart."""
    mine = registrations(demo.variables()["ACCOUNT_ID"])
    assert demo.run("stop-database").stdout == "PostgreSQL is stopped\n"
    assert demo.get(mine)[1]["error"] == "503"
    assert demo.run("start-database").stdout == "PostgreSQL runs\n"
    eventually(lambda: demo.get(mine)[0] == 200, 15, "the API to answer again")
    assert len(demo.get(mine)[1]["data"]) == len(RESELLERS)
    worker = demo.directory / "state" / "log" / "worker.log"
    eventually(lambda: "database reachable again" in worker.read_text(), 15, "the worker to continue")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_and_starts_again(demo: Demo, number: int) -> None:
    """A signal stops it in time, also a database that was started from outside, and it can start again."""
    assert demo.run("stop-database").returncode == 0
    assert demo.run("start-database").returncode == 0
    assert demo.end(number) == 0, demo.output.read_text()
    assert demo.leftovers() == []
    assert not demo.env_file.exists()
    demo.start()
    test_every_phone_is_listed(demo, "reseller", RESELLERS)


def test_part_that_dies_is_named(tmp_path: Path) -> None:
    """If a daemon dies, the demo names it, shows its log, stops the rest, and exits with 1."""
    demo = Demo(tmp_path)
    demo.start()
    row = next(line for line in demo.output.read_text().splitlines() if line.startswith("  Kamailio  "))
    os.kill(int(row.split()[-2]), signal.SIGKILL)
    assert demo.process is not None
    assert demo.process.wait(timeout=END_SECONDS) == 1
    assert "demo: Kamailio stopped unexpectedly; the end of" in demo.output.read_text()
    assert demo.leftovers() == []


@pytest.mark.parametrize("words", ["a new cluster ...", "migrate ...", "Kamailio ", "API on", "register ..."])
def test_signal_during_the_start_ends_all(tmp_path: Path, words: str) -> None:
    """SIGTERM at any step of the start stops it cleanly."""
    demo = Demo(tmp_path)
    demo.launch()
    try:
        wait_until(lambda: words in demo.output.read_text(), START_SECONDS, words)
    finally:
        status = demo.end()
    assert status == 0, demo.output.read_text()
    assert demo.leftovers() == []
    assert not demo.env_file.exists()
