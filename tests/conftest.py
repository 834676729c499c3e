"""Fixtures are split by the resource they own; here they are only named."""

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.kamdbctl",
    "tests.fixtures.kamailio",
    "tests.fixtures.location",
    "tests.fixtures.churn",
    "tests.fixtures.directory",
    "tests.fixtures.http",
    "tests.fixtures.server",
    "tests.fixtures.worker",
    "tests.fixtures.site",
]
