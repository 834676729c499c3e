"""`registrations-api routes` says who may call what, and that is so."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from api.cli import main
from sql.access.tokens import create_token
from sql.connections.database import connect
from sql.settings import DatabaseSettings
from tests.fixtures.directory import Directory

NAMES = {"{device_id}": "device-bob", "{username}": "bob", "{flush_id}": "any", "{name}": "index.html"}


@pytest.fixture
def rows() -> list[tuple[str, str, str]]:
    """Path, method and callers of each line; nothing is behind the command."""
    environment = {"REGISTRATIONS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    result = CliRunner().invoke(main, ["routes"], env=environment, catch_exceptions=False)
    assert result.exit_code == 0
    lines = [line.split(maxsplit=2) for line in result.output.splitlines()]
    return [(path, method, who) for path, method, who in lines]


def test_it_prints_every_endpoint_once(http: FlaskClient, rows: list[tuple[str, str, str]]) -> None:
    """A line for each path and method; what every path has, HEAD and OPTIONS, is left out."""
    assert len(rows) == len({row[:2] for row in rows})
    assert len(rows) == sum(
        len((rule.methods or set()) - {"HEAD", "OPTIONS"}) for rule in http.application.url_map.iter_rules()
    )
    assert ("/v2/accounts/{account_id}/registrations/{username}", "DELETE", "own account or descendant") in rows
    assert ("/v2/registrations/count", "GET", "superduper admin") in rows
    assert ("/v2/token_auth", "GET", "any token") in rows
    assert ("/v2/api_auth", "PUT", "public") in rows


def test_it_says_who_may_call(
    http: FlaskClient, directory: Directory, database_url: str, rows: list[tuple[str, str, str]]
) -> None:
    """Each is asked without a token, and by an account for itself, of an account below, beside, and by an admin."""

    def refused(path: str, method: str, caller: str | None, account: str = "reseller") -> int | None:
        headers = {}
        if caller is not None:  # a new one each time: one of the requests revokes it
            with connect(DatabaseSettings(database_url=database_url), application_name="test") as connection:
                headers["X-Auth-Token"] = create_token(connection, caller, idle_lifetime=None)[1]
        for name, value in {**NAMES, "{account_id}": account}.items():
            path = path.replace(name, value)
        with http.open(path, method=method, headers=headers) as response:
            refusal = response.status_code in {401, 403} and path != "/v2/api_auth"
            return response.status_code if refusal else None

    for path, method, who in rows:
        assert refused(path, method, None) == (None if who == "public" else 401), path
        assert refused(path, method, "admin") is None, path
        assert refused(path, method, "reseller") == (403 if who == "superduper admin" else None), path
        if who == "own account or descendant":
            assert refused(path, method, "reseller", "child") is None, path
            assert refused(path, method, "child", "reseller") == 403, path
