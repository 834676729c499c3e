"""Nonsense does not get into the directory, whoever writes it; what passes within a transaction is no offence."""

from __future__ import annotations

import psycopg
import pytest

from tests.fixtures.directory import Directory

REFUSED = [
    "insert into account (id, name, realm) values ('x', 'X', 'child.test')",
    "insert into account (id, name, realm) values ('x', 'X', 'Upper.Test')",
    "insert into account (id, name, realm) values ('a/b', 'X', 'x.test')",
    "insert into account (id, name, realm) values ('', 'X', 'x.test')",
    "insert into account (id, name, realm) values (repeat('x', 65), 'X', 'x.test')",
    "insert into account (id, parent_id, name, realm) values ('x', 'nowhere', 'X', 'x.test')",
    "update account set parent_id = 'child' where id = 'reseller'",
    "update account set parent_id = id where id = 'reseller'",
    "insert into device (id, account_id, sip_username) values ('x', 'child', 'BOB')",
    "insert into device (id, account_id, sip_username) values ('x', 'nowhere', 'x')",
    "insert into device (id, account_id, sip_username) values ('x', 'child', '')",
    "insert into device (id, account_id, sip_username, ha1) values ('x', 'child', 'x', 'secret')",
    "insert into device (id, account_id, sip_username, owner_id) values ('x', 'child', 'x', 'owner-1')",
    "insert into device (id, account_id, sip_username, sip_realm) values ('x', 'child', 'x', 'sibling.test')",
    "insert into device (id, account_id, sip_username, sip_realm) values ('x', 'reseller', 'Bob', 'child.test')",
    "update device set account_id = 'sibling' where id = 'device-alice'",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_nonsense_is_refused(directory: Directory, database: psycopg.Connection, statement: str) -> None:
    """Equal AoRs, equal realms, unknown or foreign references, circles, and text that is no identifier."""
    with pytest.raises(psycopg.IntegrityError):
        database.execute(statement)


def test_a_device_moves_with_its_accounts_realm(directory: Directory, database: psycopg.Connection) -> None:
    """The realm of the AoR follows the account's, unless the device has one of its own."""
    database.execute(
        "insert into device (id, account_id, sip_username, sip_realm) values ('own', 'child', 'x', 'shared.test')"
    )
    database.execute("update account set realm = 'new.test' where id = 'child'")
    rows = database.execute("select device_id, realm from directory where account_id = 'child'")
    realms: dict[str, str] = dict(rows.fetchall())
    assert realms == {"device-bob": "new.test", "own": "shared.test"}


def test_two_accounts_may_share_a_sip_realm_that_is_nobodys(directory: Directory, database: psycopg.Connection) -> None:
    """As providers do who have one domain for all; the AoR stays unique."""
    for account in ("child", "sibling"):
        database.execute(
            "insert into device (id, account_id, sip_username, sip_realm) values (%s, %s, %s, 'shared.test')",
            (f"shared-{account}", account, f"user-{account}"),
        )
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute(
            "insert into device (id, account_id, sip_username, sip_realm) "
            "values ('again', 'reseller', 'USER-CHILD', 'shared.test')"
        )


def test_what_only_passes_within_a_transaction_is_no_offence(
    directory: Directory, database: psycopg.Connection
) -> None:
    """Parent and child change places in two steps."""
    with database.transaction():
        database.execute("update account set parent_id = 'child' where id = 'reseller'")
        database.execute("update account set parent_id = 'admin' where id = 'child'")
    parents = {row[0]: row[1] for row in database.execute("select id::text, parent_id::text from account")}
    assert (parents["reseller"], parents["child"]) == ("child", "admin")


def test_passwords_and_tokens_are_closed_to_reports(directory: Directory, database: psycopg.Connection) -> None:
    """The report role reads registrations, directory and accounts, and nothing secret; it writes nothing."""
    database.execute("set role registrations_report")
    for allowed in (
        "select * from registrations",
        "select * from directory",
        "select id, parent_id, name, realm, enabled, superduper_admin from account",
    ):
        database.execute(allowed)
    for forbidden in (
        "select ha1 from device",
        "select ha1 from subscriber",
        "select api_key_hash from account",
        "select * from auth_token",
        "select * from location",
        "delete from account",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(forbidden)
