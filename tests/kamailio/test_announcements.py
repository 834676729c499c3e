"""Announcements of bindings: fetched from a node's queue over every transport."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kamailio.announcements import Announcement, NotServed, fetch
from kamailio.errors import KamailioUnreachable
from tests.fixtures.kamailio import StartKamailio
from tests.stand.kamailio import CONFIGURATION, Proxy, with_line
from tests.stand.process import free_port

SOURCE = "sip:192.0.2.1:5060"
Queue = Callable[[Sequence[tuple[str, str]]], Proxy]


def said(ruid: str, source: str | None = SOURCE, user: str | None = None, host: str | None = None) -> Announcement:
    """Return an announcement that was understood."""
    return Announcement(ruid=ruid, source=source, from_user=user, from_host=host)


@pytest.fixture
def queue(start_kamailio: StartKamailio, tmp_path: Path, way: str) -> Queue:
    """Start a Kamailio whose queue has these keys and values before it serves anybody."""

    def start(elements: Sequence[tuple[str, str]]) -> Proxy:
        add = "".join(f'\tmq_add("registrations", "{key}", "{value}");\n' for key, value in elements)
        configuration = with_line(tmp_path, f"event_route[htable:mod-init] {{\n{add}}}\n")
        socket = {"KAMAILIO_RPC_SOCKET": f"udp:127.0.0.1:{free_port()}"} if way == "udp" else {}
        return start_kamailio(configuration=configuration, environment=socket)

    return start


def url(proxy: Proxy, way: str) -> str:
    """Return its URL for one of the transports."""
    urls = {"http": proxy.rpc_url, "fifo": proxy.rpc_fifo_url, "kamctl": proxy.rpc_kamctl_url}
    return urls.get(way, proxy.rpc_socket_url)


def test_elements_come_oldest_first_and_once(queue: Queue, way: str) -> None:
    """Over every transport, up to the limit. An empty queue is not an error."""
    elements = [(f"uloc-1-{number}", f"{SOURCE}|{b'x'.hex()}|{b'y.example'.hex()}") for number in range(12)]
    proxy = queue(elements)
    expected = [said(ruid, SOURCE, "x", "y.example") for ruid, _ in elements]
    with proxy.rpc(url=url(proxy, way)) as client:
        assert list(fetch(client, limit=5, budget=60)) == expected[:5]
        assert list(fetch(client, limit=100, budget=60)) == expected[5:]
        assert list(fetch(client, limit=100, budget=60)) == []


@pytest.mark.parametrize("way", ["http"])
def test_when_the_time_is_over_the_rest_stays_in_kamailio(queue: Queue, way: str) -> None:
    """At least one is fetched, so that a slow transport makes progress."""
    proxy = queue([("one", f"{SOURCE}||"), ("two", f"{SOURCE}||")])
    with proxy.rpc(url=url(proxy, way)) as client:
        assert [list(fetch(client, limit=9, budget=0)) for _ in range(3)] == [[said("one")], [said("two")], []]


UNDERSTOOD = {
    "nothing": ("||", said("r", None)),
    "by TCP, IPv6": ("sip:[2001:db8::1]:5;transport=tcp||", said("r", "sip:[2001:db8::1]:5;transport=tcp")),
    "UTF-8": (f"|{'日本'.encode().hex()}|{b'gw'.hex()}", said("r", None, "日本", "gw")),
    "Latin-1": (f"|{'é'.encode('latin-1').hex()}|", said("r", None, "é", "")),
    "capitals": (f"|{b'ZJ'.hex().upper()}|", said("r", None, "ZJ", "")),
    "bars and quotes": (f"|{b'a|b'.hex()}|{bytes([34, 39, 92]).hex()}", said("r", None, "a|b", "\"'\\")),
}
NOT_UNDERSTOOD = ["x", "|", "|||", "|6|", "|zz|", "|00|", "a b||", "é||", "|61 |"]


@pytest.mark.parametrize("way", ["unix"])
def test_what_is_not_understood_is_dropped_and_told(queue: Queue, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others are returned, whatever bytes a From has. A log message has what was dropped."""
    odd = [*(("odd", value) for value in NOT_UNDERSTOOD), ("too-long-" * 30, "||")]
    proxy = queue([*(("r", value) for value, _ in UNDERSTOOD.values()), *odd])
    with proxy.rpc(url=url(proxy, way)) as client:
        assert list(fetch(client, limit=100, budget=60)) == [each for _, each in UNDERSTOOD.values()]
    dropped = [vars(record)["element"] for record in caplog.records if record.name == "kamailio.announcements"]
    assert len(dropped) == len(odd)
    assert all(repr(value) in element for (_, value), element in zip(odd, dropped, strict=True))


@pytest.mark.parametrize("way", ["http"])
def test_what_had_come_before_kamailio_went_is_kept(queue: Queue, way: str) -> None:
    """Kamailio no longer has it, so the caller gets each one at once."""
    proxy = queue([("one", f"{SOURCE}||"), ("two", f"{SOURCE}||")])
    with proxy.rpc(url=url(proxy, way)) as client:
        fetched = fetch(client, limit=100, budget=60)
        assert next(fetched) == said("one")
        proxy.kill()
        with pytest.raises(KamailioUnreachable):
            next(fetched)


@pytest.mark.parametrize(
    ("way", "old", "new"),
    [
        ("http", "name=registrations;", "name=other;"),
        ("unix", "name=registrations;", "name=other;"),
        ("http", "mqueue[.]fetch", "mqueue[.]other"),
    ],
    ids=["no queue by HTTP", "no queue by socket", "not served"],
)
def test_a_kamailio_that_has_no_such_queue_says_so(
    start_kamailio: StartKamailio, tmp_path: Path, way: str, old: str, new: str
) -> None:
    """For example with a registrations.cfg of an earlier release."""
    shutil.copy(CONFIGURATION, tmp_path)
    text = CONFIGURATION.with_name("registrations.cfg").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "registrations.cfg").write_text(text.replace(old, new), encoding="utf-8")
    proxy = start_kamailio(configuration=tmp_path / CONFIGURATION.name)
    with proxy.rpc(url=url(proxy, way)) as client, pytest.raises(NotServed):
        next(fetch(client, limit=1, budget=60))
