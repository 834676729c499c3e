"""The hosts to which a NOTIFY may go: the setting, and the next hops of URIs from phones."""

from __future__ import annotations

import pytest

from kamailio.edges import Edges, Hop, hop_of


@pytest.mark.parametrize(
    ("text", "known", "unknown"),
    [
        ("", [], ["10.0.0.5", "edge.test", ""]),
        (
            "10.0.0.5, 2001:db8::/32,Edge.test",
            ["10.0.0.5", "2001:db8::1", "edge.test"],
            ["10.0.0.6", "2001:db9::1", "other.edge.test", "::ffff:10.0.0.5"],
        ),
        ("[::1],192.0.2.0/24", ["::1", "192.0.2.255"], ["::2", "192.0.3.0", "3221225985"]),
        ("*", ["10.0.0.5", "::1", "edge.test"], []),
    ],
)
def test_addresses_networks_and_names_are_known(text: str, known: list[str], unknown: list[str]) -> None:
    """Nothing is resolved: a name matches only that name."""
    edges = Edges.parse(text)
    assert [host for host in (*known, *unknown) if host in edges] == known
    assert [host for host in (*known, *unknown) if edges.name(host)] == ([] if text == "*" else known)


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.1/24", "10.0.0.1:5060", "sip:edge", "edge one", "10.0.0.0/33"])
def test_another_setting_is_refused(text: str) -> None:
    """The message names the part that is wrong."""
    with pytest.raises(ValueError, match=text.replace("[", "").split(",")[0]):
        Edges.parse(f"192.0.2.1,{text}")


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:192.0.2.1", Hop("192.0.2.1", 5060, "udp")),
        ("sip:[2001:DB8::1]:5070;transport=WS", Hop("2001:db8::1", 5070, "ws")),
        ("sip:[2001:0DB8:0:0:0:0:0:1]:5060", Hop("2001:db8::1", 5060, "udp")),
        ("SIPS:b%40b:secret@Edge.test;lr", Hop("edge.test", 5061, "tls")),
        ("sip:lb@10.0.0.5;lr;received=sip:192.0.2.7:5062", Hop("10.0.0.5", 5060, "udp")),
        ("sip:10.0.0.5:5060@192.0.2.1", Hop("192.0.2.1", 5060, "udp")),
        ("sip:192.0.2.1;lr?X=sip:10.0.0.5", Hop("192.0.2.1", 5060, "udp")),
    ],
)
def test_where_a_uri_leads(uri: str, hop: Hop) -> None:
    """To the host after the user part, whatever surrounds it (RFC 3261, 19.1.1)."""
    assert hop_of(uri) == hop


@pytest.mark.parametrize(
    "uri",
    [
        "sip:a@192.0.2.1@10.0.0.5",
        "sip:192.0.2.1;x=@10.0.0.5",
        "sip:192.0.2.1?x=@10.0.0.5",
        "sip:10.0.0.5;lr;maddr=192.0.2.1",
        "sip:10.0.0.5;lr; MADDR =192.0.2.1",
        "sip:10.0.0.5:x",
        "sip:10.0.0.5 192.0.2.1",
        "sip:[::1",
        "sip:%31%30.0.0.5",
        "sip:",
        "tel:+4930123",
        "10.0.0.5",
        "",
    ],
)
def test_where_it_is_not_certain_it_leads_nowhere(uri: str) -> None:
    """Other parsers may find another host there."""
    assert hop_of(uri) is None
