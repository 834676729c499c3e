"""The wheel has every file of the rooms and works outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("api", "kamailio", "sql", "sync")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this checkout and unpack it."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def test_every_file_of_the_rooms_is_in_the_wheel(unpacked: Path) -> None:
    """It has statements, migrations and Kamailio's configuration as well as Python, but no tests."""
    expected = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert expected <= packed
    assert not [name for name in packed if name.startswith("tests")]


def test_the_commands_start_from_the_wheel_alone(unpacked: Path) -> None:
    """The rooms are imported from the wheel and find their files there."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import api.cli, sync.cli, sql.cli\n"
        "from sql.schema.migration import all_migrations; from sql.statements import statement\n"
        "from api.document import read_document\n"
        "assert api.cli.__file__.startswith(sys.argv[1])\n"
        "assert len(all_migrations()) >= 5 and statement('access_check')\n"
        "assert read_document()['paths']"
    )
    subprocess.run([sys.executable, "-P", "-c", code, unpacked], cwd="/", check=True, timeout=60)
