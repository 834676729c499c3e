"""The client that openapi-python-client generates from the OpenAPI document, against a server in production form."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest

from api.document import read_document
from tests.demo.content import program
from tests.fixtures.directory import Directory
from tests.fixtures.server import HOST, Server

PACKAGE = "registrations_client"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated package, imported. A warning of the generator fails the test."""
    directory = tmp_path_factory.mktemp("generated")
    document, config = directory / "openapi.json", directory / "generator.yaml"
    document.write_text(json.dumps(read_document()), encoding="utf-8")
    config.write_text("post_hooks: []\n", encoding="utf-8")
    subprocess.run(
        [
            program("openapi-python-client"), "generate", "--path", document, "--meta", "none",
            "--output-path", directory / PACKAGE, "--config", config, "--fail-on-warning",
        ],
        check=True,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(directory)
        yield importlib.import_module(PACKAGE)


@pytest.fixture
def client(package: Any, server: Server, directory: Directory) -> Iterator[Any]:
    """The package's models and types, and its client with a token of the reseller."""
    url, token = f"http://{HOST}:{server.port}", directory.tokens["reseller"]
    with package.AuthenticatedClient(base_url=url, token=token) as http:
        yield SimpleNamespace(http=http, models=importlib.import_module(f"{PACKAGE}.models"), types=package.types)


def _call(client: Any, operation: str, *path: str, **arguments: Any) -> Any:
    """Call an operation, named by its module in the package, and return the parsed answer."""
    module = importlib.import_module(f"{PACKAGE}.api.{operation}")
    return module.sync(*path, client=client.http, **arguments)


def test_answers_are_typed(client: Any) -> None:
    """The types are complete: `data` is a list of registrations, and the envelope has its further keys."""
    names = {**vars(client.models), "Unset": client.types.Unset}
    listed = get_type_hints(client.models.RegistrationList, localns=names)
    assert listed["data"] == list[client.models.Registration]
    assert listed["next_start_key"] == str | client.types.Unset
    flushed = get_type_hints(client.models.Flushed, localns=names)
    assert (flushed["flushed"], flushed["pending"], flushed["flush_id"]) == (int, int, str)
    device = get_type_hints(client.models.DeviceShown, localns=names)["data"]
    assert get_type_hints(get_type_hints(device, localns=names)["sip"], localns=names)["username"] is str


def test_lists_pages_and_order(client: Any, server: Server) -> None:
    """`next_start_key` leads from page to page. The client sends no parameter that is described only in words."""
    list_registrations = "registrations.list_registrations"
    whole = _call(client, list_registrations, "reseller")
    assert isinstance(whole, client.models.RegistrationList)
    calls = [each.call_id for each in whole.data]
    assert sorted(calls) == sorted(phone.call_id for phone in server.phones[:2])
    first = _call(client, list_registrations, "reseller", page_size=1)
    second = _call(client, list_registrations, "reseller", page_size=1, start_key=first.next_start_key)
    assert [each.call_id for each in first.data + second.data] == calls
    assert not second.next_start_key
    turned = _call(client, list_registrations, "reseller", descending=False)
    assert [each.call_id for each in turned.data] == calls[::-1]
    tcp = _call(client, list_registrations, "reseller", filters=_filters(client, filter_proxy_protocol="tcp"))
    assert [each.call_id for each in tcp.data] == [server.phones[1].call_id]


def _filters(client: Any, **filters: str) -> Any:
    return client.models.ListRegistrationsFilters.from_dict(filters)


def test_devices(client: Any) -> None:
    """It lists devices, shows one, and syncs it."""
    listed = _call(client, "devices.list_devices", "reseller")
    assert [each.id for each in listed.data] == ["device-alice"]
    shown = _call(client, "devices.show_device", "reseller", listed.data[0].id)
    assert (shown.data.sip.username, shown.data.sip.realm) == ("alice", "reseller.test")
    sent = _call(client, "devices.sync_device", "reseller", "device-alice", body=client.models.RequestEnvelope())
    assert (sent.data, sent.sent, sent.failed) == ("sync request sent", 2, 0)


def test_flush(client: Any) -> None:
    """It flushes, reads the flush record, and counts."""
    flushed = _call(client, "registrations.flush_username", "reseller", "alice")
    assert (flushed.data, flushed.flushed, flushed.pending) == ("ok", 2, 0)
    shown = _call(client, "registrations.show_flush", "reseller", flushed.flush_id)
    assert (shown.data.id, shown.data.username) == (flushed.flush_id, "alice")
    assert _call(client, "registrations.count_registrations", "reseller").data.count == 0


def test_failures(client: Any) -> None:
    """A failure is a typed answer too."""
    refused = _call(client, "registrations.count_registrations", "admin")
    assert isinstance(refused, client.models.Forbidden)
    assert (refused.error, refused.message) == ("403", "forbidden")
    unknown = _call(client, "registrations.flush_username", "reseller", "nosuch")
    assert unknown.data == ["nosuch"]
