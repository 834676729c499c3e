"""Usernames with "@" and usernames that are not ASCII are enriched, listed, counted and flushed like others."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from urllib.parse import quote

import pytest

from kamailio import usrloc
from sql.registrations.census import take_census
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.fixtures.site import Site, StartSite
from tests.fixtures.worker import StartJobs
from tests.stand.kamailio import without_authentication

REALM = "reseller.test"
# The phone's username, and what usrloc stores in the columns username and domain.
WITH_AT = {
    "none": ("anna", ("anna", REALM)),
    "one": ("anna@corp.example", ("anna", f"corp.example@{REALM}")),
    "several": ("anna@b@c", ("anna", f"b@c@{REALM}")),
    "at the end": ("anna@", ("anna", f"@{REALM}")),
    "case": ("Anna@Corp.Example", ("anna", f"corp.example@{REALM}")),
    "odd": ("a n'n%|a@c;x=\"1", ("a n'n%|a", f'c;x="1@{REALM}')),
}


def _add_device(site: Site, username: str) -> None:
    site.database.execute(
        "insert into device (id, account_id, sip_username) values ('device-anna', 'reseller', %s)", (username,)
    )


def _facts(site: Site) -> list[tuple[str, ...]]:
    query = "select username, realm, to_user, from_user, authorizing_id, account_id from registrations"
    return site.database.execute(query).fetchall()


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("case", WITH_AT)
def test_a_username_with_an_at(
    start_site: StartSite, start_jobs: StartJobs, tmp_path: Path, case: str, db_mode: int
) -> None:
    """It is one device of its realm, before and after enrichment, and can be flushed by that name."""
    username, stored = WITH_AT[case]
    site = start_site(configuration=without_authentication(tmp_path), db_mode=db_mode)
    _add_device(site, username)
    assert site.phone(username).register().ok
    if db_mode == 2:
        site.proxy.restart()  # it writes its memory
    assert site.rows() == [stored]
    user = username.lower()
    expected = [(user, REALM, user, user, "device-anna", "reseller")]
    assert _facts(site) == expected
    jobs = start_jobs(kamailio_rpc=f"1={site.proxy.rpc_url}")
    assert jobs.enrich() == {"enriched": 1}
    assert _facts(site) == expected
    assert jobs.reconcile()["reconciled"] == 0
    assert [(each["username"], each["realm"]) for each in site.shown()] == [(user, REALM)]
    census = take_census(site.database)
    assert census is not None
    assert census.accounts == {"reseller": 1}
    if db_mode == 2:
        assert site.ask("DELETE", f"/{quote(username)}?check_sync=false")["pending"] == 0
        with site.proxy.rpc() as rpc:
            assert usrloc.lookup(rpc, f"{user}@{REALM}") == ()
        assert site.shown() == []
    else:
        site.flush(username, expected=1)


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("case", WITH_AT)
def test_a_device_whose_username_has_an_at_is_disabled(
    start_site: StartSite, start_jobs: StartJobs, tmp_path: Path, case: str, db_mode: int
) -> None:
    """The comparison with the directory finds the device, and the guarded removal finds its older binding."""
    username, _ = WITH_AT[case]
    site = start_site(configuration=without_authentication(tmp_path), db_mode=db_mode)
    _add_device(site, username)
    phone = site.phone(username)
    assert phone.register().ok
    if db_mode == 2:
        site.proxy.restart()
    jobs = start_jobs(kamailio_rpc=f"1={site.proxy.rpc_url}")
    assert jobs.enrich() == {"enriched": 1}
    sleep(1.1)  # a REGISTER in the second of the change could be newer
    site.database.execute("update device set enabled = false where id = 'device-anna'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}
    assert site.shown() == []
    found = site.database.execute("select username, domain from flush_binding").fetchall()
    assert found == [(username.lower(), REALM)]
    assert jobs.flush(1)["flushed"] == 1
    with site.proxy.rpc() as rpc:
        assert usrloc.lookup(rpc, f"{username.lower()}@{REALM}") == ()
    assert phone.register().ok, "nobody authenticates here"
    assert jobs.flush(1)["flushed"] == 0
    with site.proxy.rpc() as rpc:
        assert len(usrloc.lookup(rpc, f"{username.lower()}@{REALM}")) == 1


@pytest.mark.parametrize("username", ["anna", "anna@corp.example"])
@pytest.mark.parametrize("db_mode", [1, 3])
def test_a_username_with_an_at_where_usrloc_keeps_no_domain(
    start_site: StartSite, database_url: str, tmp_path: Path, username: str, db_mode: int
) -> None:
    """With use_domain=0 the whole AoR is the username, and the realm is the site's."""
    migrate(DatabaseSettings(database_url=database_url, kamailio_default_realm=REALM))
    site = start_site(
        configuration=without_authentication(tmp_path), db_mode=db_mode, environment={"KAMAILIO_USE_DOMAIN": "0"}
    )
    _add_device(site, username)
    assert site.phone(username).register().ok
    assert site.rows() == [(username, None)]
    assert _facts(site) == [(username, REALM, username, username, "device-anna", "reseller")]
    site.flush(username, expected=1)


@pytest.mark.parametrize("db_mode", [1, 3])
def test_names_and_agents_that_are_not_ascii(
    start_site: StartSite, start_jobs: StartJobs, tmp_path: Path, db_mode: int
) -> None:
    """They are stored, listed, counted, compared with the directory and flushed as UTF-8."""
    agent, user, contact = "Linphone (\u0410\u043d\u043d\u0430\u2019s iPhone)", "j\xf6rg", "sip:\u0430@192.0.2.7"
    site = start_site(configuration=without_authentication(tmp_path), db_mode=db_mode)
    site.database.execute("alter table device drop constraint device_sip_username_check")  # an operator's own view
    _add_device(site, user)
    phone = site.phone("x", user_agent=agent, contact=contact)
    phone.aor = phone.from_uri = f"sip:{user}@{REALM}"
    assert phone.register().ok
    assert phone.register().ok
    assert site.database.execute("select username, user_agent, contact from location").fetchall() == [
        (user, agent, contact)
    ]
    jobs = start_jobs(kamailio_rpc=f"1={site.proxy.rpc_url}")
    assert jobs.enrich() == {"enriched": 1}
    assert jobs.reconcile()["reconciled"] == 0
    (shown,) = site.shown()
    assert (shown["username"], shown["user_agent"], shown["contact"]) == (user, agent, contact)
    census = take_census(site.database)
    assert census is not None
    assert census.accounts == {"reseller": 1}
    site.flush(user, expected=1)
    assert phone.register().ok
    assert jobs.enrich() == {"enriched": 1}
    sleep(1.1)
    site.database.execute("update device set enabled = false where id = 'device-anna'")
    assert jobs.reconcile() == {"reconciled": 1, "flushes_asked": 1}
    assert jobs.flush(1)["flushed"] == 1
    with site.proxy.rpc() as rpc:
        assert usrloc.lookup(rpc, f"{user}@{REALM}") == ()
