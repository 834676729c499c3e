"""Schemathesis sends a real server requests that the document allows, and others; see schemathesis.toml."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from api.document import read_document
from tests.demo.content import program
from tests.demo.sample import read_sample
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.server import HOST, StartServer
from tests.openapi.examples import ADMIN_TOKEN, FRONT_DESK, TOKEN, fill

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# Requests for each operation. `make fuzz` sends more, and others at each run. Without it every run sends the same ones.
EXAMPLES = os.environ.get("EXAMPLES")
HOW_MANY = ["--max-examples", EXAMPLES] if EXAMPLES else ["--max-examples", "25", "--generation-deterministic"]
SAMPLE = read_sample()
HOUR = 3600

Fuzz = Callable[..., None]


def _flush(port: int, token: str, account: str) -> str:
    """Flush a device that is not registered; return the ID of the flush."""
    idle = "fax" if account == SAMPLE.child.id else "noc"
    connection = HTTPConnection(HOST, port, timeout=10)
    with closing(connection):
        path = f"/v2/accounts/{account}/registrations/{idle}?check_sync=false"
        connection.request("DELETE", path, headers={"X-Auth-Token": token})
        flush_id: str = json.load(connection.getresponse())["flush_id"]
    return flush_id


@pytest.fixture
def fuzz(
    database: psycopg.Connection,
    database_url: str,
    add_binding: AddBinding,
    start_kamailio: StartKamailio,
    start_server: StartServer,
    tmp_path: Path,
) -> Fuzz:
    """Run schemathesis with a token and an account, on the sample with registrations and a real Kamailio."""
    fill(database, database_url, add_binding)
    for username in ("reception", "marta", "marta", "devon"):
        add_binding(username, SAMPLE.reseller.realm)
    registrar = start_kamailio()
    port = start_server(registrar.rpc_url, api_rate_burst="0").port

    def run(token: str, account: str, *arguments: str) -> None:
        environment = {
            **os.environ,
            "no_proxy": "*",
            "PYTHONPATH": str(ROOT),
            "ACCOUNT": account,
            "FLUSH": _flush(port, token, account),
            "FLUSHED_ACCOUNT": SAMPLE.child.id,
            "EMPTY_ACCOUNT": SAMPLE.other_child.id,
            "PARENT_ACCOUNT": SAMPLE.admin.id,
            "DEVICE": FRONT_DESK,
            "IDLE_DEVICE": SAMPLE.device_with_two_phones,
        }
        command: list[str | Path] = [program("schemathesis"), "--config-file", CONFIGURATION, "run"]
        # schemathesis takes the document's URL `..` as it stands, and does not resolve it.
        document = tmp_path / "openapi.json"
        document.write_text(json.dumps({**read_document(), "servers": [{"url": "/"}]}), encoding="utf-8")
        command += [document, "--url", f"http://{HOST}:{port}", "--header", f"X-Auth-Token: {token}"]
        command += ["--no-color", *HOW_MANY]
        done = subprocess.run(
            [*command, *arguments],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=HOUR,
        )
        print(done.stdout)
        assert done.returncode == 0

    return run


def test_whatever_is_asked_the_answer_is_in_the_document(fuzz: Fuzz) -> None:
    """With a superduper admin's token every status, content type and body is documented, and there is no 5xx."""
    fuzz(ADMIN_TOKEN, SAMPLE.reseller.id, "--exclude-operation-id", "revokeToken")


def test_the_same_holds_for_a_token_of_one_account(fuzz: Fuzz) -> None:
    """The account has no descendants. The system's count is left out, because this token never gets it."""
    without = ("--exclude-operation-id", "revokeToken", "--exclude-operation-id", "countAllRegistrations")
    fuzz(TOKEN, SAMPLE.child.id, *without, "--phases", "examples,fuzzing")


def test_the_same_holds_for_revoking_a_token(fuzz: Fuzz) -> None:
    """It is tested apart, because after it all other requests would fail."""
    fuzz(TOKEN, SAMPLE.child.id, "--include-operation-id", "revokeToken")
