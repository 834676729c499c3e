"""A phone that registers shows enriched in its account's list. After it un-registers it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient

from kamailio.nodes import Nodes
from kamailio.settings import KamailioSettings
from sql.connections.database import Database
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sync.jobs import Jobs
from sync.settings import SyncSettings
from tests.fixtures.directory import Directory
from tests.fixtures.http import StartApi
from tests.fixtures.site import StartSite
from tests.fixtures.worker import FetchSources
from tests.stand.kamailio import Proxy
from tests.stand.phone import Phone
from tests.stand.process import free_port

StartPhone = Callable[..., Phone]


@pytest.fixture
def start_phone(registrar: Proxy) -> Iterator[StartPhone]:
    """Start phones of the directory. The password of each is secret."""
    with ExitStack() as phones:

        def start(username: str, realm: str, **options: Any) -> Phone:
            phone = Phone(username, realm, "secret", **{"proxy": registrar.sip, **options})
            return phones.enter_context(phone)

        yield start


@pytest.fixture
def client(start_api: StartApi, registrar: Proxy) -> FlaskClient:
    """An API whose Kamailio is that proxy."""
    return start_api(kamailio_rpc=registrar.rpc_url)


def _list(client: FlaskClient, directory: Directory, account: str) -> list[dict[str, Any]]:
    response = client.get(f"/v2/accounts/{account}/registrations", headers={"X-Auth-Token": directory.tokens[account]})
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.get_json()["data"]
    return data


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
def test_a_phone_is_listed_with_where_it_really_is(
    client: FlaskClient, directory: Directory, start_phone: StartPhone, registrar: Proxy, transport: Any
) -> None:
    """After the 200 the list has it with device and owner, its real address and the proxy's socket."""
    phone = start_phone("Alice", "reseller.test", transport=transport, user_agent="Acme Phone/1.0")
    assert phone.register(300).status == 200
    (registration,) = _list(client, directory, "reseller")
    assert registration["username"] == "alice"
    assert (registration["authorizing_id"], registration["owner_id"]) == ("device-alice", "owner-1")
    assert registration["call_id"] == phone.call_id
    assert registration["contact"] == phone.contact
    assert registration["user_agent"] == "Acme Phone/1.0"
    assert registration["expires"] == 300
    assert registration["proxy_protocol"] == transport
    assert (registration["proxy_ip"], registration["proxy_port"]) == ("127.0.0.1", str(registrar.sip_port))
    assert registration["network_ip"] == "127.0.0.1"
    assert phone.unregister().status == 200
    assert _list(client, directory, "reseller") == []


@pytest.mark.parametrize(("server_id", "expected"), [(1, "sip1.example.com"), (2, "")])
def test_a_proxy_that_listens_everywhere_is_listed_with_its_host(
    start_site: StartSite, database: psycopg.Connection, database_url: str, server_id: int, expected: str
) -> None:
    """usrloc stores 0.0.0.0, also with `advertise`. The host of a node that no setting names is unknown."""
    migrate(DatabaseSettings(database_url=database_url, kamailio_nodes="1=kamailio@sip1.example.com"))
    site = start_site(
        sip_host="0.0.0.0",
        server_id=server_id,
        environment={"KAMAILIO_LISTEN_PORT": f"{(port := free_port())} advertise 203.0.113.9:5080"},
        sip_port=port,
    )
    assert site.phone("Alice", proxy=("127.0.0.1", port)).register().ok
    assert database.execute("select socket from location").fetchone() == (f"udp:0.0.0.0:{port}",)
    (shown,) = site.ask("GET")["data"]
    assert (shown["proxy_ip"], shown["proxy_port"]) == (expected, str(port))


def test_two_registrations_of_one_phone_are_seen_as_one_phones(
    client: FlaskClient, directory: Directory, start_phone: StartPhone
) -> None:
    """By `+sip.instance` and reg-id (RFC 5626) as Kamailio stores them; a phone that sends neither has neither."""
    urn = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"
    for number in (1, 2):
        contact = f'<sip:bob@127.0.0.1:507{number}>;+sip.instance="<{urn}>";reg-id={number}'
        assert start_phone("bob", "child.test", contact=contact).register().status == 200
    assert start_phone("bob", "child.test").register().status == 200
    shown = [(each.get("instance"), each.get("reg_id")) for each in _list(client, directory, "child")]
    assert shown == [(None, None), (urn, 2), (urn, 1)]


def test_a_refresh_keeps_the_first_time_and_the_enrichment(
    client: FlaskClient,
    directory: Directory,
    start_phone: StartPhone,
    database: psycopg.Connection,
    database_url: str,
) -> None:
    """usrloc's UPDATE does not change our columns, so the worker has nothing to do again."""
    phone = start_phone("bob", "child.test")
    phone.register()
    with Database(DatabaseSettings(database_url=database_url), application_name="test", pool_size=1) as pool:
        jobs = Jobs(pool, Nodes(KamailioSettings()), SyncSettings())
        assert jobs.enrich() == {"enriched": 1}
        database.execute("update location set first_registered_at = first_registered_at - interval '1 hour'")
        (before,) = _list(client, directory, "child")
        phone.register()
        assert jobs.enrich() == {"enriched": 0}
    (after,) = _list(client, directory, "child")
    assert after["authorizing_id"] == "device-bob"
    assert after["initial_registration"] == before["initial_registration"] < after["last_registration"]


def test_two_phones_of_one_user_are_two_registrations(
    client: FlaskClient, directory: Directory, start_phone: StartPhone
) -> None:
    """usrloc keeps every binding of an AoR, and the list shows each."""
    for transport in ("udp", "tcp"):
        assert start_phone("bob", "child.test", transport=transport).register().status == 200
    assert sorted(each["proxy_protocol"] for each in _list(client, directory, "child")) == ["tcp", "udp"]


def test_only_devices_of_the_directory_register(
    directory: Directory, start_phone: StartPhone, database: psycopg.Connection
) -> None:
    """A wrong password, a disabled device and a disabled account get a 401, without a restart of Kamailio."""
    phone = start_phone("bob", "child.test")
    assert phone.register().status == 200
    database.execute("update device set enabled = false where id = 'device-bob'")
    assert phone.register().status == 401
    database.execute("update device set enabled = true where id = 'device-bob'")
    assert phone.register().status == 200
    database.execute("update account set enabled = false where id = 'child'")
    assert phone.register().status == 401
    assert start_phone("nobody", "child.test").register().status == 401


def test_a_third_party_register_shows_its_from(
    client: FlaskClient,
    directory: Directory,
    start_phone: StartPhone,
    database: psycopg.Connection,
    registrar: Proxy,
    fetch_sources: FetchSources,
) -> None:
    """From is stored only if it differs from To. It shows unchanged, with quotes, once the worker has fetched it."""
    start_phone("bob", "child.test").register()
    start_phone("Alice", "reseller.test", from_uri="sip:o'gate%3B%20@gw.example.com").register()
    fetch_sources(registrar.rpc_url, rows=2)
    (registration,) = _list(client, directory, "reseller")
    assert (registration["from_user"], registration["from_host"]) == ("o'gate%3B%20", "gw.example.com")
    assert registration["to_user"] == "alice"
    assert database.execute("select from_user from registration_source where from_user is not null").fetchall() == [
        ("o'gate%3B%20",)
    ]


def test_an_unescaped_latin_1_user_agent_keeps_no_phone_out(
    client: FlaskClient, directory: Directory, start_phone: StartPhone
) -> None:
    """Every byte is accepted. UTF-8 shows unchanged, other bytes are escaped."""
    utf8 = start_phone("bob", "child.test", user_agent="Téléphone 日本")
    assert utf8.register().status == 200
    assert [each["user_agent"] for each in _list(client, directory, "child")] == ["Téléphone 日本"]
    utf8.unregister()
    latin1 = start_phone("bob", "child.test", user_agent="T\udce9l/1")
    assert latin1.register().status == 200
    assert [each["user_agent"] for each in _list(client, directory, "child")] == ["T%e9l/1"]


def test_a_from_is_forgotten_when_the_user_registers_himself_again(
    client: FlaskClient,
    directory: Directory,
    start_phone: StartPhone,
    registrar: Proxy,
    fetch_sources: FetchSources,
) -> None:
    """The list shows the From of the last REGISTER that the worker has fetched."""

    def shown() -> list[str]:
        return [each["from_user"] for each in _list(client, directory, "child")]

    phone = start_phone("bob", "child.test", from_uri="sip:secretary@child.test")
    phone.register()
    fetch_sources(registrar.rpc_url)
    assert shown() == ["secretary"]
    phone.from_uri = phone.aor
    phone.register()
    fetch_sources(registrar.rpc_url)
    assert shown() == ["bob"]
