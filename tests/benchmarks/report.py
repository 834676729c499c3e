"""Writes bench.json and prints the table: the figures, and the machine that they were measured on."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Outcome
from tests.stand.kamailio import kamailio_version
from tests.stand.postgres import bin_directory

ROOT = Path(__file__).resolve().parents[2]


def _said(*command: str | Path) -> str:
    try:
        return subprocess.run(command, check=False, capture_output=True, encoding="utf-8", cwd=ROOT).stdout.strip()
    except FileNotFoundError:
        return ""


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.M)
    return found[1].strip() if found else ""


def facts(scale: float) -> dict[str, Any]:
    """Return the machine, the versions, the commit and the date."""
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    memory = Path("/proc/meminfo").read_text(encoding="ascii")
    debian = Path("/etc/debian_version")
    changed = _said("git", "status", "--porcelain")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": scale,
        "commit": _said("git", "rev-parse", "--short=12", "HEAD") + ("+" if changed else ""),
        "machine": {
            "cpu": _find(r"^model name\s*:(.*)$", processor) or platform.machine(),
            "cores": os.cpu_count(),
            "memory_gb": round(int(_find(r"^MemTotal:\s*(\d+)", memory)) / 1e6, 1),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "debian": debian.read_text(encoding="ascii").strip() if debian.exists() else platform.platform(),
            "postgresql": _find(r"([0-9][0-9.]*)", _said(bin_directory() / "postgres", "--version")),
            "kamailio": kamailio_version(),
            "python": platform.python_version(),
        },
    }


def write(path: Path, about: dict[str, Any], outcomes: Sequence[Outcome], tables: dict[str, Any]) -> None:
    """Write all outcomes so far. Called after each group, so that an interrupted run loses nothing."""
    content = {**about, "figures": [outcome.as_object() for outcome in outcomes], **tables}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def heading(about: dict[str, Any]) -> str:
    """Return one line about the machine, the versions and the commit."""
    machine, versions = about["machine"], about["versions"]
    return (
        f"{about['date'][:10]}, commit {about['commit']}, scale {about['scale']:g}: {machine['cores']} cores "
        f"({machine['cpu']}), {machine['memory_gb']} GB, Debian {versions['debian']}, PostgreSQL "
        f"{versions['postgresql']}, Kamailio {versions['kamailio']}, Python {versions['python']}"
    )


def row(outcome: Outcome) -> str:
    """Return one line of the table in Markdown."""
    figure, values = outcome.figure, outcome.values
    goal = "" if figure.goal is None else f"{'≥' if figure.at_least else '≤'} {figure.goal:g}"
    met = {None: "", True: "yes", False: "**no**"}[outcome.met]
    unit = f" {figure.unit}" if figure.unit and not figure.unit.startswith("/") else figure.unit
    ours, reference = (_number(sorted(v)[len(v) // 2]) + unit if v else "" for v in (outcome.ours, outcome.reference))
    ratio = _number(outcome.value) if outcome.reference else ""
    spread = f"{_number(min(values))}..{_number(max(values))}"
    return f"| `{figure.name}` | {figure.title} | {ours} | {reference} | {ratio} | {spread} | {goal} | {met} |"


TABLE_HEAD = "| figure | what | ours | reference | ratio | min..max | goal | met |" + "\n" + "|---" * 8 + "|"


def growth_table(growth: dict[str, Any]) -> list[str]:
    """Return the costs over the number of rows as a table in Markdown."""
    lines = [f"| {growth['unit']}, rows in the table: | " + " | ".join(f"{rows:,}" for rows in growth["rows"]) + " |"]
    lines.append("|---" * (len(growth["rows"]) + 1) + "|")
    lines += [f"| {label} | " + " | ".join(map(_number, costs)) + " |" for label, costs in growth["costs"].items()]
    return lines
