"""The documents: every link leads somewhere, every file that they name exists, and a page stays readable."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("api", "kamailio", "sql", "sync", "tests", "tests/benchmarks")
README_LINES = 150
LINE_LENGTH = 130
CODE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:\.?[\w-]+/)*[\w.*-]*(?:/|\.(?:py|sql|cfg|conf|md|yaml|toml|lock|json|js|csv|sh|service|socket))")


def _documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return sorted({ROOT / name for name in listed.split()} | {ROOT / room / "README.md" for room in ROOMS})


def _prose(path: Path) -> str:
    return CODE.sub("", path.read_text(encoding="utf-8"))


def _anchors(path: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them: small letters, blanks as hyphens, no other marks."""
    headings = re.findall(r"^#+ (.*)$", _prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _names(path: Path) -> list[str]:
    """The paths in backticks: all of CONTRIBUTING.md, elsewhere those in the table of a room's parts."""
    text = _prose(path)
    if path.name != "CONTRIBUTING.md":
        tables = re.findall(r"^\| (?:part|folder|module|file) \|.*\n\|[-|]*\n((?:\|.*\n)*)", text, re.MULTILINE)
        text = "\n".join(line.split("|")[1] for table in tables for line in table.splitlines())
    return [name for name in re.findall(r"`([^`\s]+)`", text) if PATH.fullmatch(name)]


@pytest.mark.parametrize("path", _documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(path: Path) -> None:
    """To a file that exists, and to a heading of it."""
    broken = []
    for target in LINK.findall(_prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize(
    "path",
    [ROOT / "CONTRIBUTING.md", *(ROOT / room / "README.md" for room in ROOMS)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_file_that_is_named_exists(path: Path) -> None:
    """The tour in CONTRIBUTING.md, and the parts of each room, lead to files and folders that are there."""
    names = _names(path)
    assert names
    assert [name for name in names if not any(path.parent.glob(name.rstrip("/")))] == []


def test_the_readme_is_short() -> None:
    """A newcomer reads it in one go; the rest is in the rooms."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("path", _documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_of_prose_fit_an_editor(path: Path) -> None:
    """Tables and code may be wider."""
    lines = _prose(path).splitlines()
    assert [line for line in lines if len(line) > LINE_LENGTH and not line.startswith("|")] == []


@pytest.mark.parametrize("room", ["api", "kamailio", "sql", "sync"])
def test_a_room_names_all_its_parts(room: str) -> None:
    """Every module and folder of a room is in the table of its parts, whatever is added."""
    named = {part for name in _names(ROOT / room / "README.md") for part in [name.split("/")[0]]}
    parts = {path.name for path in (ROOT / room).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - named - {"__init__.py"} == set()
