"""The rules of the repository: what belongs into which room, and documentation that agrees with the code."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import files
from itertools import chain
from pathlib import Path

import pytest

from tests.stand.settings_tables import settings_table, split_readme

ROOT = Path(__file__).parents[1]
ROOMS = ("api", "kamailio", "sql", "sync")
SQL_VERBS = re.compile(
    r"\b(select|insert into|update|delete from|create|alter|drop)\s+[\w*(]+\s+(from|set|values|table|view)\b", re.I
)
MODULE_LINES = 260


def _modules(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("room", ROOMS)
def test_the_readme_of_a_room_has_every_setting_as_the_code_has_it(room: str) -> None:
    """The table in the room's README has the name, default and meaning of each setting, and no other."""
    _, table = split_readme(room)
    assert table == settings_table(room)


@pytest.mark.parametrize("path", _modules("api", "kamailio", "sync"), ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_is_spoken_in_its_own_room_only(path: Path) -> None:
    """No Python outside sql/ contains an SQL statement."""
    assert not SQL_VERBS.search(path.read_text(encoding="utf-8"))


def test_every_statement_is_used_and_every_name_has_its_file() -> None:
    """Every .sql file is used, and every name given to `statement` has its file."""
    written = [path.stem for path in (ROOT / "sql").glob("*/*.sql") if path.name != "schema.sql"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in _modules("sql"))
    assert written == [name for name in dict.fromkeys(written) if f'"{name}"' in text]
    assert set(re.findall(r'statement\("(\w+)"\)', text)) <= set(written)


@pytest.mark.parametrize("path", _modules(*ROOMS), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_what_it_owns_and_stays_small(path: Path) -> None:
    """Every module begins with a docstring that says what it owns, and is short enough to read at once."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) <= MODULE_LINES


def test_imports_keep_to_the_rooms_and_run_downwards() -> None:
    """The contracts of import-linter in pyproject.toml hold."""
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_each_room_belongs_to_this_distribution() -> None:
    """The rooms have generic names: a package of the same name in the environment could be imported instead."""
    installed = files("kamailio-registrations")
    assert installed is not None
    for room in ROOMS:
        module = __import__(room)
        assert Path(module.__file__ or "").is_relative_to(ROOT), f"{room} comes from {module.__file__}"


def test_every_dependency_has_its_reason() -> None:
    """CONTRIBUTING.md has a line for each package that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = [re.split(r"[\[><=~,; ]", each)[0] for each in asked]
    assert len(declared) > 20
    reasons = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in declared if f"| {name} |" not in reasons] == []


def test_each_line_of_the_threat_model_names_a_test_that_there_is() -> None:
    """Every row of SECURITY.md's tables names at least one existing test, by file and name."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) for row in rows]
    assert [row for row, tests in zip(rows, named, strict=True) if not tests] == []
    missing = [
        f"{path}::{name}"
        for tests in named
        for path, name in tests
        if not (ROOT / path).is_file() or f"\ndef {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


SETS = {
    "{}.{}": r'modparam\("(\w+)", "(\w+)"',
    "loadmodule {}": r'loadmodule "(\w+)\.so"',
    "route[{}]": r"route\[(\w+)\]",
    "event_route[{}]": r"event_route\[([\w:-]+)\]",
    "{}": r"(\w+)\s*=",
}


def test_the_table_of_the_room_names_all_that_registrations_cfg_sets() -> None:
    """Each parameter, module, global, socket and route has its row in kamailio/README.md, and there is no other row."""
    text = (ROOT / "kamailio" / "registrations.cfg").read_text(encoding="utf-8")
    found = set()
    for line in text.splitlines():
        if re.match(r"[^\s#}]", line):
            names = [name.format(*each.groups()) for name, form in SETS.items() if (each := re.match(form, line))]
            assert len(names) == 1, line
            found.update(names)
    section = (
        (ROOT / "kamailio" / "README.md").read_text(encoding="utf-8").split("\n## What registrations.cfg sets\n")[1]
    )
    named = re.findall(r"^\| `([^`]+)` \|", section.split("\n## ")[0], re.MULTILINE)
    assert sorted(named) == sorted(found)
