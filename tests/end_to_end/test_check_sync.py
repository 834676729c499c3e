"""POST devices/{DEVICE_ID}/sync: every phone of the device gets a NOTIFY check-sync, wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from flask.testing import FlaskClient

from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.kamailio import StartKamailio
from tests.fixtures.location import AddBinding
from tests.fixtures.worker import FetchSources
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.sip import host_port

StartPhone = Callable[..., Phone]


@pytest.fixture
def registrar(
    start_kamailio: StartKamailio, directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> Proxy:
    """A proxy whose phones are those of the directory, on IPv4 and IPv6."""
    url = postgres.kamailio_url(database.info.dbname, user="registrations_kamailio")
    return start_kamailio(database_url=url, sip_host6="::1")


@pytest.fixture
def client(start_api: StartApi, registrar: Proxy) -> FlaskClient:
    """An API that reaches the proxy by HTTP."""
    return start_api(kamailio_rpc=registrar.rpc_url)


@pytest.fixture
def start_phone(registrar: Proxy, fetch_sources: FetchSources) -> Iterator[StartPhone]:
    """Register phones and let the worker fetch their sources; by default bob of the child account."""
    with ExitStack() as phones:

        def start(username: str = "bob", realm: str = "child.test", **options: Any) -> Phone:
            phone = Phone(username, realm, "secret", **{"proxy": registrar.sip, **options})
            phones.enter_context(phone)
            assert phone.register().status == 200
            fetch_sources(registrar.rpc_url)
            return phone

        yield start


def _sync(client: FlaskClient, directory: Directory, query: str = "") -> dict[str, Any]:
    """Sync bob's device and return the envelope."""
    response = client.post(
        f"/v2/accounts/child/devices/device-bob/sync{query}", headers={"X-Auth-Token": directory.tokens["child"]}
    )
    envelope: dict[str, Any] = response.get_json()
    assert (response.status_code, envelope["status"]) == (202, "success"), response.text
    assert envelope["data"] == "sync request sent"
    return envelope


@pytest.mark.parametrize("by", ["http", "datagram"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_the_phone_has_it_by_the_connection_it_registered_with(
    start_api: StartApi, directory: Directory, registrar: Proxy, start_phone: StartPhone, transport: Any, by: str
) -> None:
    """UDP, TCP and WebSocket phones get the NOTIFY by either RPC transport, addressed as they registered."""
    client = start_api(kamailio_rpc=registrar.rpc_url if by == "http" else registrar.rpc_socket_url)
    phone = start_phone(transport=transport)
    envelope = _sync(client, directory)
    request = phone.wait_for_request("NOTIFY")
    assert request.uri == phone.contact
    assert request.headers["Event"] == "check-sync;reboot=false"
    assert request.headers["To"] == "<sip:bob@child.test>"
    assert request.headers["From"].startswith("<sip:bob@child.test>;tag=")
    protocol, sent_by = request.headers["Via"].partition(";")[0].split()
    assert (protocol, sent_by) == (f"SIP/2.0/{transport.upper()}", host_port(*registrar.sip))
    assert (envelope["sent"], envelope["failed"]) == (1, 0)


def test_an_ipv6_phone_has_it(
    client: FlaskClient, directory: Directory, registrar: Proxy, start_phone: StartPhone
) -> None:
    """Kamailio sends the NOTIFY from the socket that the phone registered at."""
    phone = start_phone(proxy=("::1", registrar.sip_port))
    _sync(client, directory)
    request = phone.wait_for_request("NOTIFY")
    assert request.headers["Via"].startswith(f"SIP/2.0/UDP {host_port('::1', registrar.sip_port)};")
    assert request.headers["Contact"] == f"<sip:{host_port('::1', registrar.sip_port)}>"


@pytest.mark.parametrize("key", ["call_id", "contact"])
def test_one_binding_of_a_device_has_it_alone(
    client: FlaskClient, directory: Directory, start_phone: StartPhone, key: str
) -> None:
    """The list's filters choose the binding. Only its phone gets the NOTIFY, and none if no binding matches."""
    chosen, other = start_phone(), start_phone()
    wanted = {"call_id": chosen.call_id, "contact": chosen.contact}[key]
    envelope = _sync(client, directory, f"?filter_{key}={quote(wanted)}")
    assert (envelope["sent"], envelope["failed"]) == (1, 0)
    assert chosen.wait_for_request("NOTIFY").uri == chosen.contact
    for nobody in (f"filter_{key}=nothing", "filter_nosuch=1"):
        assert _sync(client, directory, f"?{nobody}")["sent"] == 0
    # If the other phone had been sent the first one, this would be its second.
    assert _sync(client, directory, f"?filter_not_{key}={quote(wanted)}&reboot=true")["sent"] == 1
    assert other.wait_for_request("NOTIFY").headers["Event"] == "check-sync;reboot=true"


@pytest.mark.parametrize(
    ("setting", "query", "reboot"),
    [
        (False, "", "false"),
        (True, "", "true"),
        (False, "?reboot=true", "true"),
        (True, "?reboot=False", "false"),
        (True, "?_=1700000000", "true"),
    ],
)
def test_whether_to_reboot_is_said_by_the_request_or_else_the_setting(
    start_api: StartApi,
    directory: Directory,
    registrar: Proxy,
    start_phone: StartPhone,
    setting: bool,
    query: str,
    reboot: str,
) -> None:
    """?reboot= decides whether the phone reboots. Without it the setting decides."""
    phone = start_phone()
    _sync(start_api(kamailio_rpc=registrar.rpc_url, api_sync_reboot=setting), directory, query)
    assert phone.wait_for_request("NOTIFY").headers["Event"] == f"check-sync;reboot={reboot}"


def test_both_phones_of_a_user_have_it_and_nobody_else(
    client: FlaskClient, directory: Directory, start_phone: StartPhone
) -> None:
    """Every binding of the device gets one NOTIFY. Other devices get none, nor does the same username elsewhere."""
    phones = [start_phone(transport="udp"), start_phone(transport="tcp")]
    others = [start_phone("Alice", "reseller.test"), start_phone("alice", "sibling.test")]
    assert _sync(client, directory)["sent"] == 2
    for phone in phones:
        phone.wait_for_request("NOTIFY")
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    assert client.post("/v2/account/devices/device-alice/sync/", headers=headers).status_code == 202
    others[0].wait_for_request("NOTIFY")
    assert [len(phone.received) for phone in (*phones, *others)] == [1, 1, 1, 0]


def test_a_phone_behind_nat_has_it_where_its_register_came_from(
    client: FlaskClient, directory: Directory, start_phone: StartPhone
) -> None:
    """The NOTIFY goes to the source of the REGISTER. Its Request-URI is the Contact, which the phone expects."""
    phone = start_phone(contact="sip:bob@192.0.2.99:5062;line=x")
    _sync(client, directory)
    assert phone.wait_for_request("NOTIFY").uri == "sip:bob@192.0.2.99:5062;line=x"


def test_it_goes_back_through_the_proxies_of_the_path(
    start_api: StartApi, directory: Directory, registrar: Proxy, start_phone: StartPhone
) -> None:
    """The nearest proxy gets it, with the whole Path as the first header and the Contact as the phone sent it."""
    client = start_api(kamailio_rpc=registrar.rpc_url, kamailio_edges="127.0.0.1,10.8.0.0/16")
    with Phone("edge", "child.test", "", proxy=registrar.sip) as edge:
        path = f"<sip:edge@{host_port(*edge.local)};lr;ob>,<sip:10.8.0.5;lr>"
        phone = start_phone(contact="sip:bob@10.9.9.9:5060", extra_headers={"Path": path, "Supported": "path"})
        _sync(client, directory)
        request = edge.wait_for_request("NOTIFY")
        assert request.uri == "sip:bob@10.9.9.9:5060"
        assert request.headers.listed("Route") == path.split(",")
        assert phone.received == []


def test_a_path_with_marks_of_kamailios_own_harms_nobody(
    start_api: StartApi, directory: Directory, registrar: Proxy, start_phone: StartPhone
) -> None:
    """Unescaped, such a Path crashes Kamailio (signal 11). Escaped it arrives, and Kamailio keeps running."""
    client = start_api(kamailio_rpc=registrar.rpc_url, kamailio_edges="127.0.0.1")
    with Phone("edge", "child.test", "", proxy=registrar.sip) as edge:
        address = host_port(*edge.local)
        start_phone(extra_headers={"Path": f"<sip:edge@{address};lr>,<sip:a!b!!c@127.0.0.1:9;lr>"})
        _sync(client, directory)
        route = f"<sip:edge@{address};lr>,<sip:a%21b%21%21c@127.0.0.1:9;lr>"
        assert edge.wait_for_request("NOTIFY").headers.listed("Route") == route.split(",")
    assert start_phone().registered


def test_odd_contacts_are_addressed_byte_for_byte(
    client: FlaskClient, directory: Directory, start_phone: StartPhone
) -> None:
    """UTF-8, escapes and quotes come back from the table as the phone sent them. Other bytes are escaped there."""
    contacts = [
        "sip:bob@192.0.2.99:5062;line=\udce9",
        "sip:bob@192.0.2.99:5062;line=é日",
        "sip:b%0D%0AX:%20y@192.0.2.99:5062;line=!!'\\%41?a=b",
    ]
    phones = [start_phone(contact=f"<{contact}>") for contact in contacts]
    assert _sync(client, directory)["sent"] == 3
    expected = ["sip:bob@192.0.2.99:5062;line=%E9", *contacts[1:]]
    assert [phone.wait_for_request("NOTIFY").uri.replace("%e9", "%E9") for phone in phones] == expected


def test_a_phone_that_never_answers_delays_nothing(
    start_api: StartApi, directory: Directory, registrar: Proxy, start_phone: StartPhone
) -> None:
    """Kamailio would wait 30 seconds for it. We answer 202 within a budget of five, and the next phone is notified."""
    client = start_api(kamailio_rpc=registrar.rpc_url, api_flush_budget=5)
    silent, next_one = start_phone(), start_phone()
    silent.answers["NOTIFY"] = None
    assert _sync(client, directory)["sent"] == 2
    for phone in (silent, next_one):
        phone.wait_for_request("NOTIFY")


def test_an_unregistered_device_is_no_error(client: FlaskClient, directory: Directory, start_phone: StartPhone) -> None:
    """202 as in Kazoo. Nothing is sent, also not to a phone that has un-registered."""
    assert _sync(client, directory)["sent"] == 0
    phone = start_phone()
    assert phone.unregister().status == 200
    assert (_sync(client, directory)["sent"], phone.received) == (0, [])


def test_a_hostile_row_is_left_out_and_the_others_have_theirs(
    client: FlaskClient, directory: Directory, start_phone: StartPhone, add_binding: AddBinding
) -> None:
    """A row that could inject a header is skipped and counted as failed. The honest phone gets its NOTIFY."""
    phone = start_phone()
    received = f"sip:{host_port(*phone.local)}"
    socket = f"udp:{host_port(*phone.proxy)}"
    hostile = "sip:bob@192.0.2.1\r\nX-Injected: 1"
    known = {"source": received, "received": received, "socket": socket}
    add_binding("bob", "child.test", **{**known, "contact": hostile})
    add_binding("bob", "child.test", **{**known, "received": f"{received}\r\nX-Injected: 1"})
    add_binding("bob", "child.test", **{**known, "path": "<sip:127.0.0.1;lr>\r\nX-Injected: 1"})
    add_binding("bob", "child.test", **{**known, "socket": f"{socket}\r\n"})
    add_binding("bob", "child.test", **{**known, "source": f"{received}\r\nX-Injected: 1"})
    envelope = _sync(client, directory)
    assert (envelope["sent"], envelope["failed"]) == (1, 5)
    request = phone.wait_for_request("NOTIFY")
    assert request.uri == phone.contact
    assert "X-Injected" not in request.headers
    assert len(phone.received) == 1


def test_without_kamailio_it_is_a_503(
    client: FlaskClient, directory: Directory, registrar: Proxy, start_phone: StartPhone
) -> None:
    """No phone is notified and the client gets a 503, but a 202 if the device has no phones."""
    start_phone()
    registrar.stop()
    headers = {"X-Auth-Token": directory.tokens["reseller"]}
    response = client.post("/v2/accounts/child/devices/device-bob/sync", headers=headers)
    assert (response.status_code, response.get_json()["message"]) == (503, "registrar_unreachable")
    assert int(response.headers["Retry-After"]) > 0
    assert client.post("/v2/accounts/sibling/devices/device-other/sync", headers=headers).status_code == 202
