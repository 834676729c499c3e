"""Fixtures are split by the resource they own; here they are only named."""

import pytest

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.kamdbctl",
    "tests.fixtures.kamailio",
    "tests.fixtures.location",
    "tests.fixtures.churn",
    "tests.fixtures.directory",
    "tests.fixtures.http",
    "tests.fixtures.worker",
    "tests.fixtures.server",
    "tests.fixtures.site",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take most of a minute begin first, or one process would wait for the other at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
