"""A flush can send check-sync to the flushed phones, so that phones which support it register again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from kamailio import usrloc
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.worker import FetchSources
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.process import wait_until
from tests.stand.sip import host_port


@pytest.fixture
def phones(registrar: Proxy, fetch_sources: FetchSources) -> Iterator[list[Phone]]:
    """bob's by UDP, TCP and WebSocket."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(Phone("bob", "child.test", "secret", proxy=registrar.sip, transport=transport))
            for transport in ("udp", "tcp", "ws")
        ]
        for phone in started:
            assert phone.register().status == 200
        fetch_sources(registrar.rpc_url, rows=3)
        yield started


def _flush(start_api: StartApi, registrar: Proxy, directory: Directory, path: str, **settings: Any) -> dict[str, Any]:
    client = start_api(kamailio_rpc=registrar.rpc_url, **settings)
    response = client.delete(
        f"/v2/accounts/child/registrations{path}", headers={"X-Auth-Token": directory.tokens["child"]}
    )
    envelope: dict[str, Any] = response.get_json()
    assert (response.status_code, envelope["flushed"], envelope["pending"]) == (200, 3, 0)
    return envelope


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        ("/bob", "username"),
        ("/bob", "always"),
        ("", "always"),
        ("/bob?check_sync=true", "never"),
        ("?check_sync=TRUE", "username"),
    ],
)
def test_every_phone_has_it_by_its_own_connection(
    start_api: StartApi,
    registrar: Proxy,
    directory: Directory,
    phones: list[Phone],
    path: str,
    setting: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """UDP, TCP and WebSocket: by default for one username, and for an account if set or requested."""

    def refusals() -> list[str]:
        return [vars(record)["cause"] for record in caplog.records if record.name == "api.actions.check_sync"]

    _flush(start_api, registrar, directory, path, api_flush_check_sync=setting)
    wait_until(lambda: refusals() or all(phone.received for phone in phones), 5, "the NOTIFY of every phone")
    assert refusals() == [], registrar.log
    for phone in phones:
        request = phone.wait_for_request("NOTIFY")
        assert (request.uri, request.headers["Event"]) == (phone.contact, "check-sync;reboot=false")


@pytest.mark.parametrize(
    ("path", "setting"),
    [("", "username"), ("/bob", "never"), ("/bob?check_sync=false", "username"), ("?check_sync=false", "always")],
)
def test_no_phone_has_it_where_it_is_not_wanted(
    start_api: StartApi,
    registrar: Proxy,
    directory: Directory,
    phones: list[Phone],
    fetch_sources: FetchSources,
    path: str,
    setting: str,
) -> None:
    """By default not for a whole account, and never if that is set or requested."""
    _flush(start_api, registrar, directory, path, api_flush_check_sync=setting)
    # A later message on the same connections would arrive after the NOTIFY.
    for phone in phones:
        assert phone.register().status == 200
    fetch_sources(registrar.rpc_url, rows=3)
    _flush(start_api, registrar, directory, "/bob?check_sync=true")
    for phone in phones:
        phone.wait_for_request("NOTIFY")
        assert len(phone.received) == 1


def test_the_reboot_is_a_setting(
    start_api: StartApi, registrar: Proxy, directory: Directory, phones: list[Phone]
) -> None:
    """The setting is that of a device's sync."""
    _flush(start_api, registrar, directory, "/bob", api_sync_reboot=True)
    assert phones[0].wait_for_request("NOTIFY").headers["Event"] == "check-sync;reboot=true"


def test_it_goes_through_the_proxies_of_the_path(
    start_api: StartApi, registrar: Proxy, directory: Directory, phones: list[Phone]
) -> None:
    """The NOTIFY for a fourth phone arrives at its edge proxy."""
    with (
        Phone("edge", "child.test", "", proxy=registrar.sip) as edge,
        Phone(
            "bob",
            "child.test",
            "secret",
            proxy=registrar.sip,
            contact="sip:bob@10.9.9.9:5060",
            extra_headers={"Path": f"<sip:edge@{host_port(*edge.local)};lr>", "Supported": "path"},
        ) as behind,
    ):
        assert phones[0].unregister().status == 200
        assert behind.register().status == 200
        _flush(start_api, registrar, directory, "/bob", kamailio_edges="127.0.0.1")
        assert edge.wait_for_request("NOTIFY").uri == "sip:bob@10.9.9.9:5060"


def test_a_phone_that_never_answers_delays_nothing(
    start_api: StartApi, registrar: Proxy, directory: Directory, phones: list[Phone]
) -> None:
    """Kamailio retransmits its NOTIFY for half a minute. The client and the other phones do not wait for that."""
    phones[0].answers["NOTIFY"] = None
    _flush(start_api, registrar, directory, "/bob", api_flush_budget=5)
    for phone in phones:
        phone.wait_for_request("NOTIFY")
    with registrar.rpc() as rpc:
        assert usrloc.lookup(rpc, "bob@child.test") == ()


def test_a_contact_that_cannot_be_told_fails_no_flush(
    start_api: StartApi, registrar: Proxy, directory: Directory, phones: list[Phone], database: psycopg.Connection
) -> None:
    """A Contact that could inject a header gets no NOTIFY, and the flush works as any other."""
    database.execute("update location set received = received || e'\\r\\nX-Injected: 1' where connection_id < 0")
    _flush(start_api, registrar, directory, "/bob")
    phones[1].wait_for_request("NOTIFY")
    wait_until(lambda: len(phones[2].received) == 1, 5, "the WebSocket phone's NOTIFY")
    assert phones[0].received == []
