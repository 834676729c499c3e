"""PostgreSQL 18, where Debian has 15: schema, rows and flushes; `make test POSTGRESQL=18` runs all tests on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand.postgres import bin_directory

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
FILES = ("schema/test_migrate.py", "registrations/test_location_samples.py", "flushes/test_requests.py")


def _is_there() -> bool:
    try:
        return bool(bin_directory("18"))
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _is_there(), reason="no PostgreSQL 18: `make setup POSTGRESQL=18` has it where PyPI does")
@pytest.mark.skipif(os.environ.get("POSTGRESQL") == "18", reason="all tests run on PostgreSQL 18")
def test_schema_rows_and_flushes_are_the_same_on_postgresql_18() -> None:
    """The tests of migrations, of rows that Kamailio stored and of flushes pass there as well."""
    version = subprocess.check_output([bin_directory("18") / "postgres", "--version"], encoding="ascii")
    assert version.startswith("postgres (PostgreSQL) 18.")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(HERE / name for name in FILES)],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}, "POSTGRESQL": "18"},
        cwd=HERE.parents[1],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
