"""What a login for reports or imports can use up: so many connections, unless the operator says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from sql.check.database import check_database, find_facts
from sql.connections.database import connect
from sql.console.finding import Severity
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.stand.postgres import Cluster, cluster

# As the README says.
LIMITS = {"registrations_report": 20, "registrations_import": 5}
UNLIMITED = ("registrations_kamailio", "registrations_api", "registrations_sync")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Cluster]:
    """Roles are the whole cluster's: this one has none of ours yet."""
    with cluster(tmp_path / "postgres") as running:
        yield running


@pytest.fixture
def admin(bare: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(bare.url(), autocommit=True) as connection:
        yield connection


def _migrate(bare: Cluster, *, user: str = "postgres", dbname: str = "postgres") -> None:
    migrate(DatabaseSettings(database_url=bare.url(dbname, user=user)))


def _limits(admin: psycopg.Connection) -> dict[str, int]:
    return dict(
        admin.execute("select rolname, rolconnlimit from pg_roles where rolname ~ '^registrations_'").fetchall()
    )


@pytest.mark.parametrize("role", LIMITS)
def test_nobody_takes_the_connections_of_the_others(bare: Cluster, role: str) -> None:
    """The next one of that login is refused; Kamailio, API and worker are let in."""
    _migrate(bare)
    with ExitStack() as stack:
        for _ in range(LIMITS[role]):
            stack.enter_context(psycopg.connect(bare.url(user=role)))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(bare.url(user=role))
        for other in UNLIMITED:
            stack.enter_context(psycopg.connect(bare.url(user=other)))


def test_a_report_that_nobody_ends_is_ended(bare: Cluster) -> None:
    """It would keep VACUUM from the rows that phones leave behind, or fill the disk; a session may wait for longer."""
    _migrate(bare)
    with psycopg.connect(bare.url(user="registrations_report"), autocommit=True) as report:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert report.execute(f"show {name}").fetchone() == ("1min",)
            report.execute(f"set {name} = '1h'")
        assert report.execute("show temp_file_limit").fetchone() == ("1GB",)
        with pytest.raises(errors.InsufficientPrivilege):
            report.execute("set temp_file_limit = -1")


def test_what_the_operator_says_of_a_role_stays(bare: Cluster, admin: psycopg.Connection) -> None:
    """Of one that was there before us, and of ours later: neither another migration nor another database changes it."""
    admin.execute("create role registrations_report login")
    _migrate(bare)
    assert _limits(admin) == {**dict.fromkeys(UNLIMITED, -1), **LIMITS, "registrations_report": -1}
    admin.execute("alter role registrations_import connection limit 50")
    admin.execute("create database other")
    _migrate(bare)
    _migrate(bare, dbname="other")
    with psycopg.connect(bare.url(user="registrations_report")) as report:
        assert report.execute("show statement_timeout").fetchone() == ("0",)
    assert _limits(admin)["registrations_import"] == 50


def test_who_is_no_superuser_can_make_the_roles_too(bare: Cluster, admin: psycopg.Connection) -> None:
    """All but the limit of temporary files, which only a superuser may set."""
    admin.execute("create role owner login createrole")
    admin.execute("create database kamailio owner owner")
    _migrate(bare, user="owner", dbname="kamailio")
    assert _limits(admin) == {**dict.fromkeys(UNLIMITED, -1), **LIMITS}


def test_a_login_without_a_limit_is_noted(bare: Cluster, admin: psycopg.Connection) -> None:
    """A person's that is a member, or a role that was there before; not who is Kamailio, API or worker as well."""
    _migrate(bare)
    admin.execute("grant registrations_import to registrations_sync")
    admin.execute("create role proxy login in role registrations_kamailio, registrations_report")
    admin.execute("create role analyst login connection limit 3 in role registrations_report")
    admin.execute("create role team in role registrations_report")
    settings = DatabaseSettings(database_url=bare.url(user="registrations_sync"))
    with connect(settings, application_name="test") as connection:

        def noted() -> dict[str, str]:
            found = check_database(connection, facts=find_facts(connection))
            return {each.what.split(",")[0]: each.remedy for each in found if each.id == "connections_unlimited"}

        assert noted() == {}
        admin.execute('create role "A colleague" login in role team')
        admin.execute("alter role registrations_import connection limit -1")
        assert set(noted()) == {'"A colleague"', "registrations_import"}
        assert {each.severity for each in check_database(connection, facts=find_facts(connection))} == {
            Severity.OK,
            Severity.NOTE,
        }
        for remedy in noted().values():
            admin.execute(remedy)
        assert noted() == {}
