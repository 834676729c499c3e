"""An e-mail address as username: usrloc splits such an AoR at the first "@", and our views at the last."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.adoption.steps import REALM, adopt, done, stock
from tests.stand.phone import Phone

USERS = ("anna@corp.example", "ivan@mail@corp.example", "plain")


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_is_listed_counted_and_flushed_as_itself(kamdbctl_url: str, tmp_path: Path, when: str) -> None:
    """It shows with its device, whether it registered before or after adoption."""
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path, features=("WITH_MULTIDOMAIN",)) as proxy,
        ExitStack() as phones,
    ):
        database.execute("insert into domain (domain, did) values (%s, %s)", (REALM, REALM))
        proxy.start()
        for user in USERS:
            database.execute("insert into subscriber (username, domain, password) values (%s, %s, 'x')", (user, REALM))
        all_of_them = [phones.enter_context(Phone(user, REALM, "", proxy=("127.0.0.1", proxy.port))) for user in USERS]
        if when == "before":
            assert {phone.register().status for phone in all_of_them} == {200}
        adopt(proxy, kamdbctl_url)
        assert {phone.register().status for phone in all_of_them} == {200}
        done(proxy, kamdbctl_url, "registrations-sync", "once")
        found = (
            "select username, realm, account_id, authorizing_id, to_user, to_host from registrations order by username"
        )
        assert database.execute(found).fetchall() == [(user, REALM, REALM, user, user, REALM) for user in USERS]
        for user in USERS:
            said = done(proxy, kamdbctl_url, "registrations-sync", "flush", REALM, user, "--wait")
            assert said.endswith(": 1 of 1 flushed, 0 pending\n")
        assert database.execute("select count(*) from location").fetchone() == (0,)
