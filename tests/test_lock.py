"""The environment has exactly the packages and versions of the lock files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
RUNTIME, TESTS, CLIENTS = (ROOT / path / "requirements.lock" for path in ("", "tests", "tests/clients"))
POSTGRESQL = ROOT / "tests" / "stand" / "postgresql.lock"
OURS = "kamailio-registrations"


def _locked(*files: Path) -> list[tuple[Requirement, str]]:
    """Return each requirement with its options, such as hashes."""
    lines = "\n".join(path.read_text(encoding="utf-8") for path in files).replace("\\\n", "")
    found = re.findall(r"^([^#\s].*?)( +--hash.*)?$", lines, re.M)
    return [(Requirement(requirement), options) for requirement, options in found]


def _versions(*files: Path) -> dict[str, str]:
    """Return the locked versions for this Python, by name."""
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each, _ in _locked(*files)
        if each.marker is None or each.marker.evaluate()
    }


def test_the_environment_is_the_lock() -> None:
    """`make setup` installs these versions and nothing else."""
    installed = {canonicalize_name(each.name): each.version for each in distributions(path=[_site_packages()])}
    installed.pop(canonicalize_name(OURS))
    assert installed == _versions(TESTS, CLIENTS)
    subprocess.run([sys.executable, "-m", "pip", "check"], check=True, capture_output=True)


def _site_packages() -> str:
    return next(path for path in sys.path if Path(path).name == "site-packages" and path.startswith(sys.prefix))


def test_what_operators_install_is_what_is_tested() -> None:
    """The lock file of the tests includes that of the product."""
    runtime = _versions(RUNTIME)
    tested = _versions(TESTS)
    assert runtime == {name: tested[name] for name in runtime}


def test_an_operator_installs_nothing_but_the_lock(tmp_path: Path) -> None:
    """`make install` works: the build requirements are locked too, so pip needs no index for our package."""
    locked, ours = re.findall(r"\$\(PIP_INSTALL\) (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {"--require-hashes", "--only-binary"} <= set(locked.split())
    command = [sys.executable, "-m", "pip", "install", "--target", str(tmp_path), *ours.split()]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "bin" / "registrations-db").exists()
    built = _versions(RUNTIME).keys()
    assert {"hatchling", *_required("hatchling")} <= built


def _required(name: str) -> set[str]:
    requirements = map(Requirement, requires(name) or [])
    return {canonicalize_name(each.name) for each in requirements if each.marker is None or each.marker.evaluate()}


def test_every_file_is_pinned_by_its_hash() -> None:
    """Each package has one version and at least one SHA-256. Otherwise pip would install what an index offers."""
    for requirement, options in _locked(RUNTIME, TESTS, CLIENTS, POSTGRESQL):
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert re.fullmatch(r"( +--hash=sha256:[0-9a-f]{64})+", options), requirement


def test_the_lock_has_what_pyproject_asks_for() -> None:
    """If this fails, a requirement was added or raised: run `make update`."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    for wanted, versions in (
        (project["dependencies"], _versions(RUNTIME)),
        (pyproject["build-system"]["requires"], _versions(RUNTIME)),
        (project["optional-dependencies"]["dev"], _versions(TESTS)),
    ):
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
