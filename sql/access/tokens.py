"""Tokens of the API and the access that they give. A token is random text; the database has only its SHA-256."""

import hashlib
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
from sql.statements import fetch_row, statement


@dataclass(frozen=True, slots=True)
class Access:
    """The account of a token, and how the account in the request's path relates to it.

    ``count`` is the number of bindings of the account in the path, as ``list_registrations`` has them: if it was
        requested, the token gives access to that account, and it has no restrictions. In the order of
    `access_check.sql`'s columns.
    """

    account_id: str
    superduper_admin: bool
    wanted_exists: bool
    wanted_in_tree: bool
    restrictions: Restrictions | None
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account's place in the tree, in Kazoo's terms; `account_standing.sql` says what they mean here."""

    account_id: str
    account_name: str
    is_reseller: bool
    reseller_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as an operator sees it; its text is not stored."""

    id: int
    account_id: str
    account_name: str
    note: str
    last_used_at: datetime
    idle_lifetime: timedelta | None
    restrictions: Restrictions | None
    alive: bool


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _as_json(restrictions: Restrictions | None) -> Jsonb | None:
    return None if restrictions is None else Jsonb(restrictions)


def check_access(connection: Connection, token: str, *, wanted_account: str, and_count: bool = False) -> Access | None:
    """Look up a token and record its use.

    Args:
        connection: as the API's role.
        token: as the client sent it.
        wanted_account: ID of the account in the path; empty for the token's own, or if the path has none.
        and_count: also count that account's bindings.

    Returns:
        None if there is no such token, it has expired, or its account is disabled.
    """
    values = {"token_hash": _digest(token), "wanted_account": wanted_account, "and_count": and_count}
    row = connection.execute(statement("access_check"), values).fetchone()
    return None if row is None else Access(*row)


def find_standing(connection: Connection, account_id: str) -> Standing | None:
    """An account's place in the tree; None if there is no such account."""
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
    """Create a token for an account and its descendants.

    Args:
        connection: as a role that may write ``auth_token`` (not the API's).
        account_id: whose.
        idle_lifetime: time without use until it expires; None: never.
        note: what it is for, for the operator.
        restrictions: what it may do; None: everything.

    Returns:
        Its number, for :func:`revoke_token`, and its text, which is not stored.

    Raises:
        StatementFailed: there is no such account.
    """
    follow_domains(connection)  # the account may belong to a new domain
    token = secrets.token_hex(32)
    try:
        row = fetch_row(
            connection,
            "token_insert",
            {
                "token_hash": _digest(token),
                "account_id": account_id,
                "idle_lifetime": idle_lifetime,
                "note": note,
                "restrictions": _as_json(restrictions),
            },
        )
    except (psycopg.errors.ForeignKeyViolation, psycopg.errors.CheckViolation) as error:
        raise StatementFailed(f"there is no account {account_id!r}") from error
    return row[0], token


def create_token_by_api_key(
    connection: Connection, api_key: str, *, idle_lifetime: timedelta, restrictions: Restrictions | None
) -> tuple[str, str] | None:
    """Create a token for the account that has this API key.

    Args:
        connection: as the API's role.
        api_key: as the client sent it.
        idle_lifetime: time without use until it expires.
        restrictions: what it may do; None: everything.

    Returns:
        The account's ID and the token; None if no account has the key, or it is disabled.
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
    """Every token, expired ones too."""
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        return cursor.execute(statement("token_list")).fetchall()


def revoke_token(connection: Connection, number: int) -> bool:
    """Remove a token; False if there is none with that number."""
    return connection.execute(statement("token_delete"), {"id": number}).rowcount == 1


def give_token_back(connection: Connection, token: str) -> None:
    """Remove a token by its text, as its holder may."""
    connection.execute(statement("token_revoke"), {"token_hash": _digest(token)})


def expire_tokens(connection: Connection, *, limit: int) -> int:
    """Remove tokens that expired a week ago or more. Returns their number."""
    return connection.execute(statement("token_expire"), {"limit": limit}).rowcount
