"""registrations-db token: what an operator can make, see and revoke."""

from __future__ import annotations

import psycopg
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo

from sql.access.tokens import check_access
from sql.cli import main
from tests.fixtures.directory import Directory
from tests.stand.postgres import Cluster


def _run(database_url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments], env={"REGISTRATIONS_DATABASE_URL": database_url})


def test_a_token_can_be_restricted_and_the_list_says_so(
    directory: Directory, database_url: str, database: psycopg.Connection
) -> None:
    """--restrict can be repeated, for one method too; a token without it is unrestricted."""
    made = _run(
        database_url, "create", "child", "--note", "monitoring", "--restrict", "get=accounts/*/registrations/#",
        "--restrict", "GET=token_auth", "--restrict", "*=/a=b/",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    stored = database.execute("select restrictions from auth_token where note = 'monitoring'").fetchone()
    assert stored == ({"GET": ["accounts/*/registrations/#", "token_auth"], "*": ["a=b"]},)
    lines = _run(database_url, "list").output.splitlines()
    (line,) = [line for line in lines if "monitoring" in line]
    assert "GET=accounts/*/registrations/# GET=token_auth" in line
    assert "*=a=b" in line
    assert all("unrestricted" in other for other in lines if other != line)


def test_a_restriction_that_is_none_is_refused(directory: Directory, database_url: str) -> None:
    """A typo makes no token; the message says what is wrong."""
    for wrong, said in (("accounts/#", "METHOD=PATTERN"), ("FETCH=#", "a method is one of")):
        refused = _run(database_url, "create", "child", "--restrict", wrong)
        assert refused.exit_code == 2
        assert said in refused.output
    assert len(_run(database_url, "list").output.splitlines()) == len(directory.tokens)


def test_before_migrate_and_as_another_role_the_cure_is_named(kamdbctl_url: str, database_url: str) -> None:
    """Not PostgreSQL's words alone, which name a function or a table of ours."""
    for arguments in (("create", "example.com"), ("list",)):
        early = _run(kamdbctl_url, *arguments)
        assert early.exit_code == 1
        assert "run `registrations-db migrate`" in early.output
        assert len(early.output.splitlines()) == 1
        other = _run(make_conninfo(database_url, user="registrations_api"), *arguments)
        assert other.exit_code == 1
        assert "permission denied" in other.output
        assert "the owner of location for registrations-db" in other.output


def test_who_asks_with_a_token_does_not_wait_for_the_count_of_another(
    directory: Directory, database: psycopg.Connection, postgres: Cluster
) -> None:
    """The first notes the use of the token, and has its row until its count is over; the other is served meanwhile."""
    database.execute("update auth_token set last_used_at = now() - interval '1 hour', idle_lifetime = null")
    url, token = postgres.url(database.info.dbname, user="registrations_api"), directory.tokens["child"]
    with psycopg.connect(url) as counting, psycopg.connect(url, autocommit=True) as other:
        counted = check_access(counting, token, wanted_account="child", and_count=True)
        assert counted is not None
        assert counted.count == 0
        other.execute("set lock_timeout = '1ms'")
        assert check_access(other, token, wanted_account="child") is not None
    used = "select count(*) from auth_token where last_used_at > now() - interval '1 minute'"
    assert database.execute(used).fetchone() == (1,)
