"""Statements of Kamailio's that must not read more when the tables grow."""

from __future__ import annotations

import psycopg

DEVICES = """
insert into account (id, name, realm) values ('a', 'A', 'a.example.com');
insert into device (id, account_id, sip_username, ha1)
    select n, 'a', 'User' || n, md5(n::text) from generate_series(1, 3000) n;
analyze account, device;
"""


def test_the_password_of_a_phone_is_found_without_reading_other_devices(database: psycopg.Connection) -> None:
    """A REGISTER costs the same however many devices its realm and the directory have."""
    database.execute(DEVICES)
    found = database.execute(
        "explain (analyze, format json, costs off, timing off) "
        "select ha1 from subscriber where username='User17' AND domain='a.example.com'"
    ).fetchone()
    assert found is not None

    def rows_read(plan: dict[str, object]) -> int:
        plans = plan.get("Plans", [])
        assert isinstance(plans, list)
        removed = sum(int(str(plan.get(key, 0))) for key in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
        own = 0 if plans else int(str(plan["Actual Rows"])) + removed
        return own + sum(rows_read(child) for child in plans)

    assert rows_read(found[0][0]["Plan"]) == 2  # the device and its account
