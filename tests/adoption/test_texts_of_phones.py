"""Texts of phones that are not ASCII, registered before and after adoption."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.adoption.steps import REALM, adopt, done, stock
from tests.stand.caller import Caller
from tests.stand.memory import contacts
from tests.stand.phone import Phone

AGENTS = {
    "ascii": "Plain/1.0",
    "letters": "Büro/1.0",
    "apostrophe": "LinphoneiOS/4.5.1 (Anna\u2019s iPhone)",
    "cyrillic": "LinphoneAndroid/4.6 (Света)",
    "emoji": "Phone 📞/1.0",
}
# Bytes that are not UTF-8. With the stock proxy the database refuses them; afterwards this text is stored.
LATIN1 = ("T\udce9l\udce9phone/1.0", "T%e9l%e9phone/1.0")


@pytest.mark.parametrize("db_mode", [1, 2, 3])
def test_phones_from_before_stay_and_show_as_what_they_are(kamdbctl_url: str, tmp_path: Path, db_mode: int) -> None:
    """Kamailio loads their rows. Each phone can be called, and its refresh updates the same row."""
    shown = "select username, user_agent from registrations order by username"
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path, db_mode=db_mode) as proxy,
        ExitStack() as phones,
    ):
        proxy.start()
        address = ("127.0.0.1", proxy.port)
        all_of_them = {
            name: phones.enter_context(Phone(name, REALM, "", proxy=address, user_agent=agent))
            for name, agent in AGENTS.items()
        }
        assert {phone.register().status for phone in all_of_them.values()} == {200}
        adopt(proxy, kamdbctl_url)
        assert database.execute(shown).fetchall() == sorted(AGENTS.items())
        late = all_of_them["latin1"] = phones.enter_context(
            Phone("latin1", REALM, "", proxy=address, user_agent=LATIN1[0])
        )
        with Caller("caller", REALM, "", proxy=address) as caller:
            for phone in (late, *all_of_them.values()):
                assert phone.register().status == 200
            for name, phone in all_of_them.items():
                assert caller.call(f"sip:{name}@{REALM}")[-1].status == 200
                phone.wait_for_request("MESSAGE")
        proxy.stop()  # in db_mode 2 usrloc writes its memory now
        proxy.start()
        with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
            held = {name: [each["User-Agent"] for each in contacts(client, name)] for name in all_of_them}
        expected = {**AGENTS, "latin1": LATIN1[1]}
        assert held == {name: [agent] for name, agent in expected.items()}
        done(proxy, kamdbctl_url, "registrations-sync", "once")
        assert database.execute(shown).fetchall() == sorted(expected.items())
