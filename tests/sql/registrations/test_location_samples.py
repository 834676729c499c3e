"""Every real row of location gives the registration that was decided for it by hand, on both kinds of table."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.rows import dict_row

from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.sql.registrations import location_samples

GREGORIAN = 62167219200


@dataclass(frozen=True)
class Expected:
    """Decided by reading the row: hosts, ports, protocol; seconds after midnight of its REGISTER; lifetime."""

    contact: tuple[str, str]
    network: tuple[str, str]
    protocol: str | None
    registered: int | None
    expires: int = 3600
    proxy: tuple[str, str] = ("127.0.0.1", "5090")


# 21:14:17 is 76457 seconds after midnight, 21:20:50 is 76850.
EXPECTED = {
    "p1": Expected(("10.0.0.1", "5060"), ("127.0.0.1", "52555"), "udp", 76457),
    "v6t": Expected(("[2001:db8:0:0::2]", "5062"), ("[::1]", "48108"), "tcp", 76457, 1800, ("[::1]", "5090")),
    "tls1": Expected(("192.168.1.77", "5061"), ("127.0.0.1", "59486"), "tls", 76458, proxy=("127.0.0.1", "5093")),
    "ws1": Expected(("df7jal23ls0d.invalid", "5060"), ("127.0.0.1", "47022"), "ws", 76458),
    "al1": Expected(("10.8.0.5", "5060"), ("127.0.0.1", "59591"), "udp", 76458),
    "al3": Expected(("10.0.0.1", "5060"), ("127.0.0.1", "50589"), "udp", 76458),
    "gr1": Expected(("10.0.0.8", "5060"), ("127.0.0.1", "57240"), "udp", 76458),
    "q1": Expected(("10.0.0.9", "5060"), ("127.0.0.1", "41556"), "udp", 76459),
    "e1": Expected(("10.0.0.10", "5060"), ("127.0.0.1", "51750"), "udp", 76459),
    "e3": Expected(("10.0.0.12", "5070"), ("127.0.0.1", "35143"), "udp", 76459),
    "e5": Expected(("", ""), ("127.0.0.1", "59658"), "udp", 76459),
    "e6": Expected(("Phone-7.Corp.Example.COM", "5060"), ("127.0.0.1", "38613"), "udp", 76459),
    "alice": Expected(("10.0.0.15", "5060"), ("127.0.0.1", "56916"), "udp", 76459),
    "sp ace": Expected(("10.0.0.98", "5060"), ("127.0.0.1", "53476"), "udp", 76460),
    "lng500": Expected(("10.0.0.18", "5060"), ("127.0.0.1", "47670"), "udp", 76460),
    "ua2": Expected(("10.0.0.1", "5060"), ("127.0.0.1", "32834"), "udp", 76460),
    "nat1": Expected(("10.0.0.1", "5060"), ("127.0.0.1", "54904"), "udp", 76461),
    "ua3": Expected(("10.0.0.1", "5060"), ("127.0.0.1", "59539"), "udp", 76460),
    "nodomain": Expected(("10.0.0.1", "5060"), ("127.0.0.1", "37151"), "udp", 76850),
    "perm": Expected(("10.0.0.9", "5060"), ("10.0.0.9", "5060"), None, None, 0, ("", "")),
    "permny": Expected(("10.0.0.9", "5060"), ("10.0.0.9", "5060"), None, None, 0, ("", "")),
    "mth": Expected(("10.0.0.30", "5060"), ("127.0.0.1", "47761"), "udp", 76851),
}
USER_AGENTS = {
    "ua2": "n/a",
    "ua3": "Téléphone/1.0 日本",
    "perm": "kamailio SIP Router - RPC Server",
    "permny": "kamailio SIP Router - RPC Server",
}
# The row was taken 76457 s after midnight; the present is put a minute after the last of them.
MINUTE_AFTER = 76851 + 60


@pytest.fixture(params=["fresh", "kamdbctl"])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated database, made by us or by kamdbctl."""
    if request.param == "fresh":
        return str(request.getfixturevalue("database_url"))
    url = str(request.getfixturevalue("kamdbctl_url"))
    migrate(DatabaseSettings(database_url=url))
    return url


def test_every_real_row_gives_the_registration_decided_by_hand(url: str) -> None:
    """Host, port, protocol and times of each sample are as a person reads them from the row."""
    now = int(time.time())
    midnight = now - MINUTE_AFTER
    with psycopg.connect(url, autocommit=True) as connection:
        location_samples.load(connection, midnight=midnight)
        rows = connection.cursor(row_factory=dict_row).execute("select * from registrations").fetchall()
    found = {row["username"]: row for row in rows}
    assert found.keys() == EXPECTED.keys()
    for username, expected in EXPECTED.items():
        row = found[username]
        assert (row["contact_ip"], row["contact_port"]) == expected.contact, username
        assert (row["network_ip"], row["network_port"]) == expected.network, username
        assert (row["proxy_ip"], row["proxy_port"]) == expected.proxy, username
        assert row["proxy_protocol"] == expected.protocol, username
        assert row["expires"] == expected.expires, username
        assert row["user_agent"] == USER_AGENTS.get(username, "LabUA/1.0"), username
        if expected.registered is None:
            # ul.add knows no REGISTER: the time is when the binding was first seen.
            assert abs(row["event_timestamp"] - GREGORIAN - now) < 60, username
            assert row["expires_at"] is None, username
        else:
            assert row["event_timestamp"] == midnight + expected.registered + GREGORIAN, username
            assert row["initial_registration"] == row["event_timestamp"], username


def test_an_alias_that_an_edge_proxy_added_is_not_in_the_original_contact(url: str) -> None:
    """contact is what usrloc holds, original_contact what the phone sent, proxy_path the way back."""
    with psycopg.connect(url, autocommit=True) as connection:
        location_samples.load(connection, midnight=int(time.time()) - MINUTE_AFTER)
        row = connection.execute(
            "select contact, original_contact, proxy_path from registrations where username = 'al1'"
        ).fetchone()
    assert row == (
        "sip:al1@10.8.0.5:5060;alias=203.0.113.9~40112~1",
        "sip:al1@10.8.0.5:5060",
        "<sip:edge1.example.net;lr>",
    )


def test_an_expired_row_does_not_show(url: str) -> None:
    """A binding ends in the second that it expires in, as in usrloc's VALID_CONTACT; a permanent one never."""
    with psycopg.connect(url, autocommit=True) as connection:
        # The last one expires 22:20:51, 80451 seconds after midnight.
        location_samples.load(connection, midnight=int(time.time()) - 80451)
        usernames = {row[0] for row in connection.execute("select username from registrations")}
    assert usernames == {"perm", "permny"}
