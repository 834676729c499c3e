"""A device that may no longer register is flushed, no matter who changed the directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import psycopg
import pytest
from flask.testing import FlaskClient

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.worker import StartWorker
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.process import wait_until


@pytest.fixture
def bob(registrar: Proxy, start_worker: StartWorker, database: psycopg.Connection) -> Iterator[Phone]:
    """A registered phone with an enriched row. The worker compares the directory every second."""
    start_worker(REGISTRATIONS_KAMAILIO_RPC=registrar.rpc_url)
    with Phone("bob", "child.test", "secret", proxy=registrar.sip) as phone:
        assert phone.register().status == 200
        wait_until(
            lambda: database.execute("select 1 from location where device_state is not null").fetchone(),
            5,
            "the row to be enriched",
        )
        yield phone


def _is_registered(registrar: Proxy) -> bool:
    with registrar.rpc() as rpc:
        return bool(usrloc.lookup(rpc, "bob@child.test"))


def test_a_new_password_ends_the_binding_of_the_old(
    registrar: Proxy, bob: Phone, start_api: StartApi, directory: Directory, database: psycopg.Connection
) -> None:
    """After a change by SQL the binding is gone within an interval. Only the new password can register."""
    ha1 = hashlib.md5(b"bob:child.test:new secret", usedforsecurity=False).hexdigest()
    database.execute("update device set ha1 = %s where id = 'device-bob'", (ha1,))
    wait_until(lambda: not _is_registered(registrar), 10, "the binding to be gone")
    assert bob.register().status == 401
    client = start_api(kamailio_rpc=registrar.rpc_url)
    assert _listed(client, directory) == 0
    with Phone("bob", "child.test", "new secret", proxy=registrar.sip) as phone:
        assert phone.register().status == 200
        wait_until(lambda: _listed(client, directory) == 1, 5, "the new registration to be listed")
        causes = [
            (each["cause"], each["requested_by"])
            for each in client.get(
                "/v2/accounts/child/registrations/flushes", headers={"X-Auth-Token": directory.tokens["child"]}
            ).get_json()["data"]
        ]
        assert causes == [("credentials", "worker")]


@pytest.mark.parametrize(
    "change",
    ["update account set enabled = false where id = 'child'", "delete from device where id = 'device-bob'"],
    ids=["account-disabled", "device-deleted"],
)
def test_whose_device_is_gone_is_not_registered(
    registrar: Proxy, bob: Phone, database: psycopg.Connection, change: str
) -> None:
    """The binding is gone within an interval, and the phone cannot register again."""
    database.execute(change)
    wait_until(lambda: not _is_registered(registrar), 10, "the binding to be gone")
    assert bob.register().status in {401, 403}
    assert not _is_registered(registrar)


def _listed(client: FlaskClient, directory: Directory) -> int:
    headers = {"X-Auth-Token": directory.tokens["child"]}
    return len(client.get("/v2/accounts/child/registrations", headers=headers).get_json()["data"])
