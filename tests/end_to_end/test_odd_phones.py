"""Odd phones within the limits of SIP and usrloc: each shows unchanged everywhere and can be flushed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.location import AddBinding
from tests.fixtures.site import Site, StartSite
from tests.fixtures.worker import FetchSources, StartJobs
from tests.stand.kamailio import CONFIGURATION
from tests.stand.sip_agent import NoAnswer


@pytest.fixture(params=[1, 3], ids=["write-through", "database-only"])
def site(request: pytest.FixtureRequest, start_site: StartSite) -> Site:
    """A site in the db_modes in which the table is always current."""
    return start_site(db_mode=request.param)


def configuration(directory: Path, *lines: str) -> Path:
    """Write kamailio.cfg with an operator's lines at its end."""
    path = directory / "odd.cfg"
    path.write_text("\n".join(["#!KAMAILIO", f'include_file "{CONFIGURATION}"', *lines, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("T\udce9l", "T%e9l"), ("T\xe9l", "T\xe9l"), ("\udcff\x01\udcfe", "%ff %fe"), ("日本", "日本")],
    ids=["latin-1", "utf-8", "bytes", "wide"],
)
def test_text_that_is_not_utf8(site: Site, sent: str, shown: str) -> None:
    """User-Agent and Contact may have any bytes. UTF-8 shows unchanged, other bytes as %HH. A flush works."""
    contact = f"sip:alice@192.0.2.7:5060;name={sent}"
    phone = site.phone(user_agent=f"{sent}/1", contact=contact)
    assert phone.register().ok
    assert phone.register().ok
    (registration,) = site.shown()
    assert registration["user_agent"] == f"{shown}/1"
    assert registration["contact"] == f"sip:alice@192.0.2.7:5060;name={shown}"
    site.flush("alice", expected=1)


@pytest.mark.parametrize(
    ("value", "user"),
    [
        ('"O\'Brien, \\"Bob\\" \\\\ <x>; Jr." <sip:boss@gw.example.com>', "boss"),
        ("<sip:%22boss%22@gw.example.com>", "%22boss%22"),
        ("<sip:o'b%5Cc@gw.example.com>", "o'b%5Cc"),
        ('"日本 \udce9" <sip:boss@gw.example.com>', "boss"),
    ],
    ids=["display-name", "escaped-quotes", "escaped-backslash", "bytes"],
)
def test_a_third_party_with_quotes(site: Site, fetch_sources: FetchSources, value: str, user: str) -> None:
    """From's display name is ignored. Its user shows as sent, with quotes and backslashes."""
    phone = site.phone(from_uri=value)
    assert phone.register().ok
    fetch_sources(site.proxy.rpc_url)
    (registration,) = site.shown()
    assert (registration["from_user"], registration["from_host"]) == (user, "gw.example.com")
    site.flush("Alice", expected=1)


@pytest.mark.parametrize("line", ["\r\n ", "\r\n\t", " \r\n  \t", "\n ", "\r\n \r\n "], ids=repr)
def test_a_folded_header_shows_on_one_line(site: Site, line: str) -> None:
    """A fold means one blank (RFC 3261 section 7.3.1). Call-ID and Contact may have one too, and can be flushed."""
    phone = site.phone(
        user_agent=f"Phone{line}1.0{line}(x)",
        contact=f'"A{line}B" <sip:alice@192.0.2.7:5060>;q=0.5;{line}expires=300',
        call_id=f"odd{line}one",
        extra_headers=[("Path", f"<sip:edge.example;lr>,{line}<sip:other.example;lr>"), ("Supported", "path")],
    )
    assert phone.register().ok
    (registration,) = site.shown()
    assert registration["user_agent"] == "Phone 1.0 (x)"
    assert registration["call_id"] == "odd one"
    assert registration["contact"] == "sip:alice@192.0.2.7:5060"
    path = site.database.execute("select proxy_path from registrations").fetchone()
    assert path == ("<sip:edge.example;lr>, <sip:other.example;lr>",)
    site.flush("alice", expected=1)


def test_a_contact_as_long_as_the_column(site: Site) -> None:
    """512 characters are stored whole. With 513 Kamailio answers 400, and the earlier binding stays."""
    stem = "sip:alice@192.0.2.7:5060;x="
    longest = stem + "x" * (512 - len(stem))
    assert site.phone(contact=longest).register().ok
    refused = site.phone(contact=f"{longest}x").register()
    assert refused.status == 400
    assert "too long" in refused.headers["P-Registrar-Error"]
    assert [each["contact"] for each in site.shown()] == [longest]
    site.flush("alice", expected=1)


def test_twenty_contacts_of_one_address(site: Site) -> None:
    """Each is a separate registration. Pages list them, and one flush removes all."""
    phones = [site.phone(contact=f"sip:alice@192.0.2.7:{5060 + number}") for number in range(20)]
    assert {phone.register().status for phone in phones} == {200}
    assert {each["contact"] for each in site.shown()} == {phone.contact for phone in phones}
    paged: list[str] = []
    key = ""
    while key is not None:
        page = site.ask("GET", f"?page_size=7{f'&start_key={key}' if key else ''}")
        paged += [each["contact"] for each in page["data"]]
        key = page.get("next_start_key")
    assert len(paged) == len(set(paged)) == 20
    site.flush("alice", expected=20)


@pytest.mark.parametrize("db_mode", [1, 3])
def test_a_case_sensitive_registrar(start_site: StartSite, start_jobs: StartJobs, tmp_path: Path, db_mode: int) -> None:
    """AoRs that differ in case are two for Kamailio but one device for us: enriched, listed and flushed together."""
    edited = configuration(tmp_path, 'modparam("registrar", "case_sensitive", 1)')
    site = start_site(db_mode=db_mode, configuration=edited)
    for username in ("Alice", "alice"):
        assert site.phone(username).register().ok
    assert site.rows() == [("Alice", "reseller.test"), ("alice", "reseller.test")]
    assert start_jobs().enrich() == {"enriched": 2}
    devices = site.database.execute("select distinct device_id from location").fetchall()
    assert devices == [("device-alice",)]
    assert sorted(each["username"] for each in site.shown()) == ["Alice", "alice"]
    site.flush("ALICE", expected=2)


@pytest.mark.parametrize("db_mode", [1, 3])
def test_addresses_without_a_domain(start_site: StartSite, database_url: str, db_mode: int) -> None:
    """With use_domain=0 the setting names the realm of such AoRs. They show there and can be flushed."""
    migrate(DatabaseSettings(database_url=database_url, kamailio_default_realm="reseller.test"))
    site = start_site(db_mode=db_mode, environment={"KAMAILIO_USE_DOMAIN": "0"})
    assert site.phone().register().ok
    assert site.rows() == [("alice", None)]
    assert [(each["username"], each["realm"]) for each in site.shown()] == [("alice", "reseller.test")]
    site.flush("alice", expected=1)


@pytest.mark.parametrize("value", ["<sip:a\\b@gw.example.com>", '<sip:a"b@gw.example.com>'], ids=["backslash", "quote"])
def test_a_third_party_that_is_no_sip_uri(site: Site, start_jobs: StartJobs, value: str) -> None:
    """A bare quote or backslash is not allowed in a user (RFC 3261 section 25.1): the phone is not registered.

    It gets a 400. Since 6.1 Kamailio drops the request before any route runs, and logs that.
    """
    try:
        assert site.phone(from_uri=value).register(timeout=2).status == 400
    except NoAnswer:
        assert "bad header field [From:" in site.proxy.log
    assert site.shown() == []
    assert start_jobs(kamailio_rpc=site.proxy.rpc_url).fetch(0) == {"sources_written": 0}


def test_an_address_without_a_user(start_site: StartSite, start_jobs: StartJobs, add_binding: AddBinding) -> None:
    """A row from a Kamailio without our route shows with an empty username. A flush hides and removes it."""
    add_binding("", "reseller.test", contact="sip:192.0.2.7:5060", last_modified=int(time.time()) - 1)
    site = start_site()
    assert [(each["username"], each["realm"]) for each in site.shown()] == [("", "reseller.test")]
    assert site.ask("DELETE")["flushed"] == 1
    assert site.shown() == []
    site.database.execute("update flush_binding set due_at = now()")
    start_jobs(kamailio_rpc=f"1={site.proxy.rpc_url}").flush(1)
    assert site.rows() == []
