"""Tokens of the API and what they open. A token is random text; the database keeps its SHA-256 only."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sql.access.restrictions import Restrictions
from sql.connections.database import Connection
from sql.directory.subscribers import follow_domains
from sql.errors import StatementFailed
from sql.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whom a token stands for, and how the account that it asks for relates to that.

    ``count`` is of that account's bindings, as many as ``list_registrations`` gives: where it was asked for, and the
    token opens the account.
    """

    account_id: str
    superduper_admin: bool
    wanted_exists: bool
    wanted_in_tree: bool
    restrictions: Restrictions | None
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account's place in the tree, in Kazoo's words; what they mean here the statement says."""

    account_id: str
    account_name: str
    is_reseller: bool
    reseller_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as an operator sees it; the text itself is not kept."""

    id: int
    account_id: str
    account_name: str
    note: str
    created_at: datetime
    last_used_at: datetime
    idle_lifetime: timedelta | None
    restrictions: Restrictions | None
    alive: bool


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _as_json(restrictions: Restrictions | None) -> Jsonb | None:
    return None if restrictions is None else Jsonb(restrictions)


def check_access(connection: Connection, token: str, *, wanted_account: str, and_count: bool = False) -> Access | None:
    """Look a token up and note its use.

    Args:
        connection: as the API's role.
        token: as the client sent it.
        wanted_account: ID of the account in the path; empty: the token's own, or there is none in it.
        and_count: also count that account's bindings.

    Returns:
        None when there is no such token, it died of disuse, or its account is disabled.
    """
    digest = _digest(token)
    row = connection.execute(
        statement("access_check"),
        {"token_hash": digest, "wanted_account": wanted_account, "and_count": and_count},
    ).fetchone()
    if row is None or not hmac.compare_digest(row[0], digest):
        return None
    _, account_id, superduper_admin, wanted_exists, wanted_in_tree, restrictions, count = row
    return Access(
        account_id=account_id,
        superduper_admin=superduper_admin,
        wanted_exists=wanted_exists,
        wanted_in_tree=wanted_in_tree,
        restrictions=restrictions,
        count=count,
    )


def find_standing(connection: Connection, account_id: str) -> Standing | None:
    """Where an account stands in the tree; None when there is none of that ID."""
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(statement("account_standing"), {"account_id": account_id}).fetchone()


def create_token(
    connection: Connection,
    account_id: str,
    *,
    idle_lifetime: timedelta | None,
    note: str = "",
    restrictions: Restrictions | None = None,
) -> tuple[int, str]:
    """Make a token for an account and its descendants.

    Args:
        connection: as a role that may write ``auth_token`` (not the API's).
        account_id: whose.
        idle_lifetime: after so long without use it dies; None: never.
        note: what it is for, for the operator.
        restrictions: what it may do; None: all.

    Returns:
        Its number, for :func:`revoke_token`, and the token itself, which cannot be had again.

    Raises:
        StatementFailed: there is no such account.
    """
    follow_domains(connection)  # the account may be that of a domain that is new
    token = secrets.token_hex(32)
    try:
        row = connection.execute(
            statement("token_insert"),
            {
                "token_hash": _digest(token),
                "account_id": account_id,
                "idle_lifetime": idle_lifetime,
                "note": note,
                "restrictions": _as_json(restrictions),
            },
        ).fetchone()
    except (psycopg.errors.ForeignKeyViolation, psycopg.errors.CheckViolation) as error:
        raise StatementFailed(f"there is no account {account_id!r}") from error
    assert row is not None  # noqa: S101  # INSERT ... RETURNING has a row
    return row[0], token


def create_token_by_api_key(
    connection: Connection, api_key: str, *, idle_lifetime: timedelta, restrictions: Restrictions | None
) -> tuple[str, str] | None:
    """Make a token for the account that has this API key.

    Args:
        connection: as the API's role.
        api_key: as the client sent it.
        idle_lifetime: after so long without use it dies.
        restrictions: what it may do; None: all.

    Returns:
        The account's ID and the token; None when no account has the key, or it is disabled.
    """
    token = secrets.token_hex(32)
    row = connection.execute(
        statement("token_insert_by_key"),
        {
            "key_hash": _digest(api_key),
            "token_hash": _digest(token),
            "idle_lifetime": idle_lifetime,
            "restrictions": _as_json(restrictions),
        },
    ).fetchone()
    return None if row is None else (row[0], token)


def list_tokens(connection: Connection) -> list[Token]:
    """Every token, dead ones too."""
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        return cursor.execute(statement("token_list")).fetchall()


def revoke_token(connection: Connection, number: int) -> bool:
    """Remove a token; False when there is none of that number."""
    return connection.execute(statement("token_delete"), {"id": number}).rowcount == 1


def give_token_back(connection: Connection, token: str) -> None:
    """Remove a token by itself, as who holds it may."""
    connection.execute(statement("token_revoke"), {"token_hash": _digest(token)})


def expire_tokens(connection: Connection, *, limit: int) -> int:
    """Remove tokens that died of disuse a week ago or more; returns how many."""
    return connection.execute(statement("token_expire"), {"limit": limit}).rowcount
