"""The views for people: true on both kinds of directory, whatever phones send, and found by indexes."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from sql.directory.subscribers import follow_domains
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from sql.worker.enrichment import enrich_pending
from tests.fixtures.directory import Directory
from tests.fixtures.location import AddBinding
from tests.stand.postgres import Cluster

DOCUMENT = Path(__file__).parents[3] / "sql" / "README.md"
REPORTS = ("report_registration", "report_device", "report_account", "report_flush")
ROLE = "registrations_report"


def enrich(connection: psycopg.Connection) -> None:
    while enrich_pending(connection, limit=1000):
        pass


def rows(connection: psycopg.Connection, query: str) -> list[dict[str, Any]]:
    """Rows of a query, as the role for reports sees them."""
    connection.execute(f"set role {ROLE}")
    try:
        return connection.cursor(row_factory=dict_row).execute(query).fetchall()
    finally:
        connection.execute("reset role")


def one(connection: psycopg.Connection, query: str) -> dict[str, Any]:
    found = rows(connection, query)
    assert len(found) == 1, found
    return found[0]


ROW = (
    "insert into location (ruid, username, domain, contact, received, expires, last_modified, user_agent, socket) "
    "values (%s, %s, %s, %s, 'sip:192.0.2.1:5060', now() at time zone 'UTC' + interval '1 hour', "
    "now() at time zone 'UTC', 'Yealink SIP-T46U 108.86.0.20', 'udp:203.0.113.1:5060')"
)


@pytest.fixture
def subscribers(kamdbctl_url: str) -> Iterator[psycopg.Connection]:
    """A database of kamdbctl without an import: anna in two domains, of which one is registered, and a ghost."""
    with psycopg.connect(kamdbctl_url, autocommit=True) as connection:
        connection.execute(
            "insert into subscriber (username, domain, ha1) values "
            "('anna', 'a.example.com', md5('1')), ('anna', 'b.example.com', md5('2'))"
        )
        migrate(DatabaseSettings(database_url=kamdbctl_url))
        for ruid, username in (("u1", "anna"), ("u2", "ghost")):
            connection.execute(ROW, (ruid, username, "a.example.com", f"sip:{username}@192.0.2.1:5060"))
        follow_domains(connection)
        enrich(connection)
        yield connection


def documented(kind: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8").split("\n### Ten reports\n")[1]
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("kind", ["tables", "subscriber"])
def test_every_documented_report_runs(request: pytest.FixtureRequest, kind: str) -> None:
    """By the role for reports alone, on our own directory and on Kamailio's subscribers; ten at the least."""
    name = "database" if kind == "tables" else "subscribers"
    connection: psycopg.Connection = request.getfixturevalue(name)
    queries = documented("sql")
    assert len(queries) >= 10
    for query in queries:
        rows(connection, query)


def test_a_username_in_two_domains_is_two_devices(subscribers: psycopg.Connection) -> None:
    """The one that is not registered is silent, and a binding without a device counts as none."""
    silent = rows(subscribers, "select username, realm from report_device where enabled and not registered")
    assert silent == [{"username": "anna", "realm": "b.example.com"}]
    accounts = rows(
        subscribers,
        "select account_id, devices, devices_registered, devices_silent, registered_percent, registrations, "
        "registrations_without_device from report_account order by 1",
    )
    assert [tuple(row.values()) for row in accounts] == [
        ("a.example.com", 1, 1, 0, 100, 2, 1),
        ("b.example.com", 1, 0, 1, 0, 0, 0),
    ]
    found = rows(subscribers, "select username, device_id, device_name, vendor from report_registration order by 1")
    assert [tuple(row.values()) for row in found] == [
        ("anna", "anna", "anna", "Yealink"),
        ("ghost", None, None, "Yealink"),
    ]
    assert rows(subscribers, "select disabled_at from report_device") == 2 * [{"disabled_at": None}]


def test_a_device_with_several_usernames_is_one(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding
) -> None:
    """As in a directory of the operator's own: its bindings are shown once each, and it counts once."""
    definition = database.execute("select pg_get_viewdef('directory'::regclass)").fetchone()
    assert definition is not None
    text = str(definition[0]).rstrip(";")
    more = re.sub(r"\w+\(d\.sip_username\) AS username", "'second' AS username", text)
    database.execute(f"create or replace view directory as {text} union all {more} where d.id = 'device-bob'")
    add_binding("bob", "child.test")
    add_binding("second", "child.test")
    enrich(database)
    found = rows(database, "select username, device_id from report_registration order by 1")
    assert [tuple(row.values()) for row in found] == [("bob", "device-bob"), ("second", "device-bob")]
    account = one(database, "select devices, devices_registered from report_account where account_id = 'child'")
    assert tuple(account.values()) == (1, 1)


def test_what_a_report_says_of_a_registration(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding
) -> None:
    """Names beside IDs, times as times, and how long it lasts; the same before the worker has seen it as after."""
    database.execute("update device set name = 'Desk' where id = 'device-alice'")
    database.execute("insert into kamailio_node values (1, 'kamailio@sip1.example.com', 'sip1.example.com')")
    now = int(time.time())
    phone = {"user_agent": "snomD785/10.1.84.12", "instance": "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"}
    add_binding("alice", "reseller.test", **phone, reg_id=2, last_modified=now - 60, expires=now + 600)
    query = "select * from report_registration"
    before = one(database, query)
    enrich(database)
    row = one(database, query)
    expected = {
        "account_id": "reseller", "account_name": "The Reseller", "device_id": "device-alice", "device_name": "Desk",
        "owner_id": "owner-1", "owner_name": "Alice", "username": "alice", "realm": "reseller.test",
        "vendor": "Snom", "model": "D785", "firmware": "10.1.84.12", "user_agent": "snomD785/10.1.84.12",
        "network_address": ip_address("198.51.100.7"), "network_port": 33333,
        "contact": "sip:alice@192.0.2.10:5062", "contact_address": ip_address("192.0.2.10"),
        "protocol": "udp", "server_id": 1, "node": "kamailio@sip1.example.com",
        "instance": "urn:uuid:00000000-0000-1000-8000-000a95a0e128", "reg_id": 2,
    }  # fmt: skip
    for found in (before, row):
        assert {name: found[name] for name in expected} == expected
        assert found["last_registered_at"].timestamp() == now - 60
        assert found["expires_at"].timestamp() == now + 600
        assert timedelta(seconds=590) < found["expires_in"] <= timedelta(seconds=600)
    device = one(database, "select * from report_device where account_id = 'reseller'")
    assert (device["registered"], device["registrations"], device["owner_name"]) == (True, 1, "Alice")
    assert device["first_registered_at"] == device["last_registered_at"] == row["last_registered_at"]
    assert device["expires_at"] == row["expires_at"]


def test_none_is_null_and_never_empty(database: psycopg.Connection, add_binding: AddBinding) -> None:
    """Where usrloc has nothing, and where a device has no name."""
    database.execute("insert into account (id, name, realm) values ('a', '', 'a.test'), ('b', 'B', 'b.test')")
    database.execute("insert into owner (id, account_id) values ('o', 'a')")
    database.execute(
        "insert into device (id, account_id, owner_id, sip_username, presence_id) values ('d', 'a', 'o', 'bob', '')"
    )
    database.execute("insert into kamailio_node values (1, '', '')")
    database.execute("insert into flush (account_id, cause, requested_by) values ('gone', 'request', 'x')")
    for agent in ("", "n/a"):
        none = {
            "user_agent": agent,
            "received": "",
            "contact": "tel:+49301",
            "socket": None,
            "path": "",
            "instance": "",
        }
        add_binding("bob", "a.test", **none)
    add_binding(
        "nobody", None, expires=0, last_modified=0, server_id=0, received=None, contact="", user_agent="", socket=None
    )
    enrich(database)
    for view in REPORTS:
        for row in rows(database, f"select * from {view}"):
            assert "" not in row.values(), (view, row)
    found = rows(database, "select * from report_registration order by username")
    unknown = {"user_agent", "vendor", "model", "firmware", "network_address", "network_port", "protocol", "node"}
    for name in unknown | {"instance", "reg_id"}:
        assert {row[name] for row in found} == {None}, name
    assert (found[2]["expires_at"], found[2]["expires_in"], found[2]["server_id"]) == (None, None, None)


def test_when_a_device_was_disabled(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding
) -> None:
    """By itself or with its account, whichever came first; null once it is enabled again."""
    add_binding("bob", "child.test")
    enrich(database)
    query = "select enabled, disabled_at, registered from report_device where device_id = 'device-bob'"
    assert tuple(one(database, query).values()) == (True, None, True)
    database.execute("update device set enabled = false where id = 'device-bob'")
    by_itself = one(database, query)
    assert by_itself["disabled_at"] is not None
    assert not by_itself["enabled"]
    database.execute("update account set enabled = false where id = 'child'")
    assert one(database, query) == by_itself
    account = "select enabled, disabled_at, devices_disabled, devices_registered, devices_silent from report_account "
    row = one(database, account + "where account_id = 'child'")
    assert row["disabled_at"] is not None
    assert (row["devices_disabled"], row["devices_registered"], row["devices_silent"]) == (1, 1, 0)
    database.execute("update device set enabled = true where id = 'device-bob'")
    assert one(database, query)["disabled_at"] == row["disabled_at"]
    database.execute("update account set enabled = true where id = 'child'")
    assert one(database, query)["disabled_at"] is None
    assert one(database, account + "where account_id = 'child'")["disabled_at"] is None


def test_how_far_a_flush_has_come(database: psycopg.Connection, directory: Directory) -> None:
    """Three bindings: one confirmed by its node, one pending at a node by name, one superseded."""
    database.execute("insert into kamailio_node values (2, 'kamailio@sip2.example.com', 'sip2.example.com')")
    database.execute(
        "insert into flush (id, account_id, cause, requested_by, bindings, superseded) "
        "values ('f', 'child', 'request', 'reseller', 3, 1)"
    )
    database.execute(
        "insert into flush_node (flush_id, node, attempts, confirmed_at, last_error) "
        "values ('f', 1, 1, now(), null), ('f', 2, 4, null, 'KamailioUnreachable: no answer')"
    )
    database.execute(
        "insert into flush_binding "
        "(flush_id, ruid, username, server_id, modified_epoch, cseq, shown, confirmed, due_at) "
        "values ('f', 'r1', 'bob', 1, 1, 1, true, '{1}', now()), ('f', 'r2', 'bob', 2, 1, 1, true, '{}', now()), "
        "('f', 'r3', 'bob', 2, 1, 1, false, '{}', now())"
    )
    row = one(database, "select * from report_flush")
    assert (row["account_name"], row["registrations"], row["flushed"], row["pending"], row["superseded"]) == (
        "A Child", 3, 1, 1, 1,
    )  # fmt: skip
    assert (row["percent_done"], row["nodes"], row["attempts"]) == (66, 2, 4)
    assert row["nodes_pending"] == "kamailio@sip2.example.com"
    assert row["last_error"] == "KamailioUnreachable: no answer"


def test_every_column_that_reports_may_read_has_a_comment(database: psycopg.Connection) -> None:
    """Which \\d+ shows, for each view that the role for reports may read."""
    found = database.execute(
        "select a.attrelid::regclass::text, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid "
        "where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace and a.attnum > 0 "
        "and has_column_privilege(%(role)s, c.oid, a.attnum, 'select') "
        "and coalesce(col_description(c.oid, a.attnum), '') = ''",
        {"role": ROLE},
    ).fetchall()
    assert found == []
    views = database.execute(
        "select count(*) from pg_views where schemaname = 'public' and has_table_privilege(%s, viewname, 'select') "
        "and obj_description(viewname::regclass) <> ''",
        (ROLE,),
    ).fetchone()
    assert views == (len(REPORTS) + 2,)


# A URI and the address in it, decided by hand.
ADDRESSES = [
    ("sip:192.0.2.1", "192.0.2.1"),
    ("sip:alice@192.0.2.1:5080;transport=tcp", "192.0.2.1"),
    ("SIPS:alice@192.0.2.1?x=y", "192.0.2.1"),
    ("sip:a@[2001:db8::1]:5060", "2001:db8::1"),
    ("sip:[::1]:48108;transport=tcp", "::1"),
    ("sip:[2001:DB8:0:0::2]", "2001:db8::2"),
    ("sip:[1:2:3:4:5:6:7:8]", "1:2:3:4:5:6:7:8"),
    ("sip:[1:2:3:4:5:6:7::]", "1:2:3:4:5:6:7:0"),
    ("sip:[::2:3:4:5:6:7:8]", "0:2:3:4:5:6:7:8"),
    ("sip:[fe80::1%eth0]:5060", "fe80::1"),
    ("sip:[fe80::1%25eth0]", "fe80::1"),
    ("sip:[::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
    ("sip:[::]", "::"),
    ("sip:10.0.0.1@192.0.2.1", "192.0.2.1"),
    ("sip:a@phone.example.com", None),
    ("sip:a@h8s.invalid;transport=ws", None),
    ("sip:a@192.0.2.1.example.com", None),
    ("sip:a@192.0.2", None),
    ("sip:a@192.0.2.256", None),
    ("sip:a@1.2.3.4.5", None),
    ("sip:a@1.2.3.4/8", None),
    ("sip:a@[192.0.2.1]", None),
    ("sip:a@[::1", None),
    ("sip:a@::1", None),
    ("sip:a@[1::2::3]", None),
    ("sip:a@[:::]", None),
    ("sip:a@[12345::]", None),
    ("sip:a@[1:2:3:4:5:6:7:8:9]", None),
    ("sip:a@[::1]x", None),
    ("sip:a@[%eth0]", None),
    ("sip:192.0.2.1;x=a@9", None),
    ("sip:192.0.2.1;x=@[::1]]", None),
    ("tel:192.0.2.1", None),
    ("*", None),
    ("", None),
    ("sip:", None),
    ("sip:@", None),
    ("sip:a@\u0661.2.3.4", None),
]


@pytest.mark.parametrize(("uri", "address"), ADDRESSES)
def test_the_address_of_a_uri(
    database: psycopg.Connection, add_binding: AddBinding, uri: str, address: str | None
) -> None:
    """As source that usrloc has, as source that the worker fetched, and as Contact."""
    add_binding("a", "h", received=uri, contact="sip:a@203.0.113.250")
    add_binding("b", "h", received=None, source=uri, contact="sip:b@203.0.113.250")
    add_binding("c", "h", received=None, contact=uri)
    expected = None if address is None else ip_address(address)
    found = rows(database, "select username, network_address, contact_address from report_registration order by 1")
    networks = {row["username"]: row["network_address"] for row in found}
    assert networks["c"] == networks["b"] == expected
    assert networks["a"] == (expected if uri else ip_address("203.0.113.250"))
    assert found[2]["contact_address"] == expected


def test_no_uri_makes_a_report_fail(database: psycopg.Connection) -> None:
    """Of 20,000 that look like addresses each is PostgreSQL's own reading or null, and no IPv6 is overlooked."""
    database.execute(
        "create function pg_temp.read(host text) returns inet language plpgsql as "
        "$$ begin return host::inet; exception when others then return null; end $$"
    )
    chance = random.Random(15)
    parts = ["", "0", "1", "ff", "ABCD", "12345", ":", "::", "1.2.3.4", "255.1.1.256", "%eth0", ".", "]", "[", "@", "g"]
    hosts = []
    for _ in range(10_000):
        groups = [f"{chance.randrange(65536):x}" for _ in range(9)]
        cut, end = sorted(chance.choices(range(10), k=2))
        tail = chance.choice(["", "", ":1.2.3.4", "1.2.3.4", ":999.1.1.1"])
        hosts.append(":".join(groups[:cut]) + chance.choice(["::", "::", ":"]) + ":".join(groups[end:]) + tail)
        hosts.append("".join(chance.choices(parts, k=chance.randrange(12))))
    found = database.execute(
        "select h, sip_uri_address('sip:a@[' || h || ']:5060;x=y'), pg_temp.read(h), sip_uri_address('sip:' || h) "
        "from unnest(%s::text[]) h",
        (hosts,),
    ).fetchall()
    assert sum(address is not None for _, address, _, _ in found) > 1000
    for host, address, by_postgres, _ in found:
        if re.fullmatch(r"[0-9A-Fa-f:]+", host) or (address is not None and "%" not in host):
            assert address == by_postgres, host


def test_addresses_and_ports_agree_with_the_list(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding
) -> None:
    """What `registrations` shows as an address is the same one here, and so are port, protocol and times."""
    for number, (uri, _) in enumerate(ADDRESSES):
        source = None if number % 2 else uri
        add_binding("alice", "reseller.test", received=None, contact=uri, source=source, socket="tls:[::1]:5061")
    add_binding("alice", "reseller.test", received="sip:192.0.2.1:99999;transport=ws", user_agent="x\r\n  y")
    enrich(database)
    listed = {row["ruid"]: row for row in rows(database, "select * from registrations")}
    found = rows(database, "select * from report_registration")
    assert len(found) == len(listed) == len(ADDRESSES) + 1
    for row in found:
        other = listed[row["ruid"]]
        host, port = other["network_ip"].strip("[]").partition("%")[0], other["network_port"]
        if row["network_address"] is not None:
            assert row["network_address"] == ip_address(host)
        assert row["network_port"] == (None if port in {"undefined", "99999"} else int(port))
        assert row["contact"] == (other["contact"] or None)
        assert row["protocol"] == other["proxy_protocol"]
        assert row["user_agent"] == other["user_agent"]
        assert (row["last_registered_at"], row["expires_at"]) == (other["registered_at"], other["expires_at"])


# User-Agents as phones send them: vendor, model, firmware.
AGENTS = [
    ("Yealink SIP-T46S 66.86.0.15", "Yealink", "T46S", "66.86.0.15"),
    ("Yealink SIP-T27G 69.86.0.15", "Yealink", "T27G", "69.86.0.15"),
    ("Yealink W60B 77.83.0.25", "Yealink", "W60B", "77.83.0.25"),
    ("Grandstream GXP2170 1.0.11.79", "Grandstream", "GXP2170", "1.0.11.79"),
    ("Grandstream HT801 1.0.17.5", "Grandstream", "HT801", "1.0.17.5"),
    ("PolyVVX-VVX_450-UA/6.4.3.5156", "Poly", "VVX_450", "6.4.3.5156"),
    ("PolycomVVX-VVX_411-UA/6.4.6.2453", "Poly", "VVX_411", "6.4.6.2453"),
    ("PolycomSoundPointIP-SPIP_550-UA/3.3.5.0247", "Poly", "SPIP_550", "3.3.5.0247"),
    ("PolyTrio-Trio_8800-UA/7.2.6.0218", "Poly", "Trio_8800", "7.2.6.0218"),
    ("PolyEdge-Edge_E450-UA/8.1.0.8111", "Poly", "Edge_E450", "8.1.0.8111"),
    ("Cisco/SPA504G-7.6.2", "Cisco", "SPA504G", "7.6.2"),
    ("Cisco/SPA112-1.4.1(SR5)", "Cisco", "SPA112", "1.4.1(SR5)"),
    ("Linksys/SPA942-6.1.5(a)", "Cisco", "SPA942", "6.1.5(a)"),
    ("Linksys/PAP2T-3.1.15(LS)", "Cisco", "PAP2T", "3.1.15(LS)"),
    ("Cisco-CP8841/12.6.1", "Cisco", "CP8841", "12.6.1"),
    ("Cisco-CP-8841-3PCC/11.0 (00562b043615)", "Cisco", "CP-8841-3PCC", "11.0"),
    ("snomD785/10.1.84.12", "Snom", "D785", "10.1.84.12"),
    ("snom821/873_19_20130321", "Snom", "821", "873_19_20130321"),
    ("snom360/7.3.30", "Snom", "360", "7.3.30"),
    ("snom105-3.56p", "Snom", "105", "3.56p"),
    ("N510 IP PRO/42.264.00.000.000 (Gigaset)", "Gigaset", "N510 IP PRO", "42.264.00.000.000"),
    ("Gigaset N510 IP PRO/42.250.00.000.000", "Gigaset", "N510 IP PRO", "42.250.00.000.000"),
    ("C610 IP/42.075.00.000.000", "Gigaset", "C610 IP", "42.075.00.000.000"),
    ("Fanvil X5U 2.12.1.4", "Fanvil", "X5U", "2.12.1.4"),
    ("Fanvil X303 2.12.18.9 0c383e63963b", "Fanvil", "X303", "2.12.18.9"),
    ("Fanvil i16SV 2.4.0", "Fanvil", "i16SV", "2.4.0"),
    ("Fanvil X3S", "Fanvil", "X3S", None),
    ("Panasonic_KX-HDV130X/06.101 (bcc34244a9e1)", "Panasonic", "KX-HDV130X", "06.101"),
    ("Panasonic-KX-TGP550T04/12.17 (0080f0a0d31d)", "Panasonic", "KX-TGP550T04", "12.17"),
    ("Mitel 6867i/5.1.0.1024", "Mitel", "6867i", "5.1.0.1024"),
    ("Mitel-6920-SIP/6.4.0.140", "Mitel", "6920", "6.4.0.140"),
    ("Mitel-3300-ICP 8.0.9.18", "Mitel", "3300", "8.0.9.18"),
    ("Mitel-AWC/3.5", "Mitel", None, None),
    ("Aastra 51i/2.5.1.41", "Mitel", "51i", "2.5.1.41"),
    ("Aastra 6739i/3.3.1.4358-SIP", "Mitel", "6739i", "3.3.1.4358"),
    ("Htek UC924E V3.0.4.5", "Htek", "UC924E", "3.0.4.5"),
    ("Htek UC912G 001fc1200b41", "Htek", "UC912G", None),
    ("Avaya one-X Deskphone 7.1.15.1.3 b4475ea2e9a0", "Avaya", "one-X Deskphone", "7.1.15.1.3"),
    ("Avaya H175 Collaboration Station H1xx_SIP-R1_0_2_3_3050.tar", "Avaya", "H175", None),
    ("Audiocodes-Sip-Gateway-Mediant 1000/v.5.80A.055.002", "AudioCodes", "Mediant 1000", "5.80A.055.002"),
    ("Zoiper v2.10.20.4_1", "Zoiper", None, "2.10.20.4_1"),
    ("Zoiper rv2.10.19", "Zoiper", None, "2.10.19"),
    ("Zoiper rev.5415", "Zoiper", None, "5415"),
    ("Z 5.6.4 v2.10.20.4_1 (Zoiper)", "Zoiper", None, "5.6.4"),
    ("Zoiper for Windows 2.38 rev.16635", "Zoiper", None, None),
    ("LinphoneAndroid/5.2.5 (Marta's Pixel 8) LinphoneSDK/5.3.47", "Linphone", "LinphoneAndroid", "5.2.5"),
    ("LinphoneiOS/4.5.1 (iPhone) LinphoneSDK/5.0.40-pre.2+ea19d3d", "Linphone", "LinphoneiOS", "4.5.1"),
    ("Linphone/3.9.0 (belle-sip/1.4.2)", "Linphone", "Linphone", "3.9.0"),
    ("Linphone Desktop/ (Ubuntu 22.04.3 LTS, Qt 5.15.3) LinphoneCore/4.4.21", "Linphone", None, None),
    ("Bria iOS release 3.9.5 stamp 38501.38502", "CounterPath", "Bria iOS", "3.9.5"),
    ("Bria 3 release 3.5.5 stamp 71243", "CounterPath", "Bria 3", "3.5.5"),
    ("Bria iOS 3.1.1", "CounterPath", "Bria iOS", "3.1.1"),
    ("X-Lite release 4.9.8 stamp 84253", "CounterPath", "X-Lite", "4.9.8"),
    ("MicroSIP/3.21.3", "MicroSIP", None, "3.21.3"),
    ("PJSUA v2.10 Linux-5.4/x86_64/glibc-2.31", "PJSIP", None, "2.10"),
    ("baresip v1.0.0 (x86_64/linux)", "baresip", None, "1.0.0"),
    ("JsSIP 3.10.1", "JsSIP", None, "3.10.1"),
    ("SIP.js/0.20.0", "SIP.js", None, "0.20.0"),
    ("OBIHAI/OBi202-3.1.0.4477", "Obihai", "OBi202", "3.1.0.4477"),
    ("AVM FRITZ!Box Fon WLAN 7170 29.04.76 (Jul 13 2009)", "AVM", "FRITZ!Box Fon WLAN 7170", "29.04.76"),
    ("AVM FRITZ!Box 7590 154.07.29 (May 19 2021)", "AVM", "FRITZ!Box 7590", "154.07.29"),
    ("AVM FRITZ!Box 7430 test", "AVM", "FRITZ!Box 7430", None),
    ("Alcatel-Lucent 8460 ACS 12.0.2b0290", "Alcatel-Lucent", "8460", "12.0.2b0290"),
    ("Digium D40 1_4_0_0_57389", "Sangoma", "D40", "1_4_0_0_57389"),
    ("Sangoma S500 V2.0.4.54", "Sangoma", "S500", "2.0.4.54"),
    ("Asterisk PBX 18.10.0~dfsg", "Asterisk", None, "18.10.0~dfsg"),
    ("Asterisk PBX", "Asterisk", None, None),
    ("FPBX-16.0.40(18.20.0)", "Asterisk", None, "18.20.0"),
    ("FreeSWITCH-mod_sofia/1.10.9-release~64bit", "FreeSWITCH", None, "1.10.9-release~64bit"),
    ("3CXPhone 6.0.26523.0", "3CX", "3CXPhone", "6.0.26523.0"),
    ("3CXPhoneSystem 14.0.44198.522 (44097)", "3CX", "3CXPhoneSystem", "14.0.44198.522"),
    ("Acrobits SIPIS", "Acrobits", "Acrobits SIPIS", None),
    ("2N IP Verso 2.42.1", "2N", "IP Verso", "2.42.1"),
    ("YEALINK SIP-T46S 66.86.0.15", "Yealink", "T46S", "66.86.0.15"),
    ("Polygon-Client/1.0", None, None, None),
    ("LabUA/1.0", None, None, None),
    ("friendly-scanner", None, None, None),
    ("Téléphone/1.0 日本", None, None, None),
    ("kamailio SIP Router - RPC Server", None, None, None),
    (" Yealink", None, None, None),
    ("Yealink", "Yealink", None, None),
]


def test_vendor_model_and_firmware_of_real_phones(database: psycopg.Connection, add_binding: AddBinding) -> None:
    """As a person reads the User-Agent; null is what it does not say."""
    for agent, *_ in AGENTS:
        add_binding("a", "h", user_agent=agent)
    found = rows(database, "select user_agent, vendor, model, firmware from report_registration")
    assert {row["user_agent"]: tuple(row.values())[1:] for row in found} == {
        agent: expected for agent, *expected_list in AGENTS for expected in [tuple(expected_list)]
    }


def test_no_prefix_of_a_vendor_begins_another(database: psycopg.Connection) -> None:
    """So the last one before a User-Agent is the only one that may fit; all are in lower case."""
    rules = "select p.prefix from user_agent_rule p"
    assert (
        database.execute(
            f"{rules} join user_agent_rule q on q.prefix <> p.prefix and starts_with(q.prefix, p.prefix)"
        ).fetchall()
        == []
    )
    assert database.execute(f"{rules} where prefix <> lower(prefix)").fetchall() == []


def test_no_user_agent_makes_a_report_fail(database: psycopg.Connection, add_binding: AddBinding) -> None:
    """Each rule meets 255 characters that nearly fit it, of one byte and of four."""
    prefixes = [row[0] for row in database.execute("select prefix from user_agent_rule")]
    count = 0
    for prefix in prefixes:
        for filler in ("a", "1", "/", "-", " ", "(", "1.", " a", "a-", "/1", "\U0001f4de", "\n ", "v", "İ", "\\"):
            add_binding("a", "h", user_agent=(prefix + filler * 255)[:255])
            count += 1
    found = rows(database, "select vendor, model, firmware from report_registration")
    assert len(found) == count
    assert all(row["vendor"] for row in found)


HOSTILE = [
    "\x01",
    "\u202e" * 20,
    "'; drop table location; --",
    "%",
    "%s",
    "[[[[",
    "@" * 60,
    "\\",
    "null",
    "9" * 60,
    "İ",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_rows_are_reported(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding, text: str
) -> None:
    """Whatever stands in the columns that phones fill, every view is read to its end."""
    for contact in (text, f"sip:{text}", f"sip:a@{text}:{text}", f"sip:a@192.0.2.1:{text}", f"sip:[{text}]:5060"):
        add_binding(text, text, contact=contact, received=contact, user_agent=text, socket=text, path=text)
        add_binding(text, "child.test", contact=contact, received=None, callid=text, instance=text)
    enrich(database)
    assert len(rows(database, "select * from report_registration")) == 10
    for view in REPORTS:
        rows(database, f"select * from {view}")


def scanned(plan: dict[str, Any]) -> Iterator[str]:
    """Tables that a plan reads from one end to the other."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for child in plan.get("Plans", []):
        yield from scanned(child)


MANY = """
insert into account (id, name, realm)
    select 'a' || n, 'Account ' || n, 'a' || n || '.test' from generate_series(1, 200) n;
insert into device (id, account_id, sip_username)
    select 'd' || n, 'a' || n % 200 + 1, 'u' || n from generate_series(1, 210000) n;
insert into location (
    ruid, username, domain, contact, received, expires, callid, last_modified, user_agent, socket, server_id,
    account_id, device_id, enriched_at
)
select
    'r' || n, 'u' || n, 'a' || n % 200 + 1 || '.test',
    'sip:u' || n || '@10.' || n % 250 || '.' || n / 1000 || '.' || n % 199,
    case when n % 3 > 0 then 'sip:198.51.' || n % 100 || '.' || n % 250 || ':5060' end,
    4000000000, 'c' || n, 1700000000, 'MicroSIP/3.21.3', 'udp:203.0.113.1:5060', 1, 'a' || n % 200 + 1, 'd' || n,
    case when n < 199950 then now() end
from generate_series(1, 200000) n;
"""
SOURCES = """
insert into registration_source (ruid, received)
select 'r' || n, 'sip:192.0.2.' || n % 250 from generate_series(3, 200000, 6) n
"""
FOUND_BY_INDEX = [
    "report_registration where account_id = 'a7'",
    "report_registration where account_id = 'a7' and device_id = 'd406'",
    "report_registration where device_id = 'd406'",
    "report_registration where network_address = '198.51.7.7'",
    "report_registration where network_address = '10.12.100.13'",
    "report_registration where network_address = '192.0.2.7'",
    "report_registration where network_address <<= '198.51.7.0/28'",
    "report_registration where ruid = 'r5'",
    "report_device where device_id = 'd406'",
    "report_device where account_id = 'a7'",
    "report_device where account_id = 'a7' and device_id = 'd406'",
    "report_account where account_id = 'a7'",
]


@pytest.fixture(params=["tables", "subscriber"])
def many(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """200,000 registrations of 210,000 devices, from all three kinds of source; fifty wait for the worker."""
    if request.param == "tables":
        database: psycopg.Connection = request.getfixturevalue("database")
        database.execute(MANY)
        yield database
        return
    url = request.getfixturevalue("kamdbctl_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "insert into subscriber (username, domain, ha1) "
            "select 'd' || n, 'a' || n % 200 + 1, md5('x') from generate_series(1, 210000) n"
        )
        migrate(DatabaseSettings(database_url=url))
        times = MANY.replace("4000000000", "timestamp '2096-01-01'").replace("1700000000", "timestamp '2023-01-01'")
        connection.execute("insert into location" + times.partition("insert into location")[2])
        yield connection


def test_one_of_200_000_is_found_without_reading_all(many: psycopg.Connection) -> None:
    """An account, a device, an address: whatever usrloc and the worker know of where phones came from."""
    for sources in ("", SOURCES):
        many.execute(sources or "select")
        many.execute("vacuum analyze")
        for query in FOUND_BY_INDEX:
            row = many.execute(f"explain (format json) select * from {query}").fetchone()
            assert row is not None
            assert "location" not in set(scanned(row[0][0]["Plan"])), query
            if "d406" in query:
                assert len(rows(many, f"select * from {query}")) == 1, query


REFRESH = (
    "update location set expires = expires + 60, last_modified = last_modified + 60, cseq = cseq + 1, "
    "callid = %(callid)s, received = %(received)s, contact = 'sip:alice@192.0.2.10:5062', user_agent = user_agent, "
    "socket = socket, server_id = server_id, connection_id = connection_id, q = q, path = path"
)


@pytest.mark.parametrize("received", ["sip:198.51.100.7:33333", None])
def test_a_refresh_stays_heap_only(
    database: psycopg.Connection, directory: Directory, add_binding: AddBinding, received: str | None
) -> None:
    """With the index on addresses, too: usrloc writes the same source and Contact again."""
    add_binding("alice", "reseller.test", received=received)
    enrich(database)
    query = (
        "select pg_stat_get_xact_tuples_updated(r), pg_stat_get_xact_tuples_hot_updated(r) "
        "from (select 'location'::regclass::oid) t (r)"
    )
    with database.transaction():
        before = database.execute(query).fetchone()
        database.execute(REFRESH, {"callid": "another", "received": received})
        after = database.execute(query).fetchone()
    assert before is not None
    assert after == (before[0] + 1, before[1] + 1)


def test_a_registration_needs_no_function_of_ours(
    database: psycopg.Connection, postgres: Cluster, add_binding: AddBinding
) -> None:
    """Nor any privilege on one: who closes our functions to Kamailio's user keeps no phone out."""
    database.execute("revoke execute on all functions in schema public from public")
    database.execute("set role registrations_kamailio")
    insert = "insert into location (ruid, username, contact, received) values (%s, 'a', 'sip:a@[2001:db8::1]', %s)"
    for number, received in enumerate((None, "", "sip:192.0.2.1", "sip:[::1]:5060", "x")):
        database.execute(insert, (str(number), received))
    assert database.execute("update location set received = 'sip:192.0.2.9:1'").rowcount == 5
    assert database.execute("delete from location").rowcount == 5
