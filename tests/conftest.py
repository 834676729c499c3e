"""Lists the modules of fixtures, one for each resource."""

import os

import pytest

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.kamdbctl",
    "tests.fixtures.directory",
    "tests.fixtures.kamailio",
    "tests.fixtures.location",
    "tests.fixtures.churn",
    "tests.fixtures.http",
    "tests.fixtures.worker",
    "tests.fixtures.server",
    "tests.fixtures.site",
]


def pytest_configure() -> None:
    """Forget settings of the shell, such as those of `.demo/env`: a test has none but its own."""
    for name in [name for name in os.environ if name.startswith("REGISTRATIONS_")]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that take most of a minute first, so that no process waits for another at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
