"""What a check finds, in an operator's words, as text and as JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is, best first."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


# The exit codes of plugins for Nagios and Icinga: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (the check cannot be made).
EXIT = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 1, Severity.FAULT: 2}
EXIT_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        id: a word for machines, which does not change.
        severity: OK when the check passed.
        what: one sentence.
        why: its consequence; empty when the check passed.
        remedy: what to do.
    """

    id: str
    severity: Severity
    what: str
    why: str = ""
    remedy: str = ""


def passed(id: str, what: str) -> Finding:  # noqa: A002  # as the field is called
    """Report that something is as it should be."""
    return Finding(id, Severity.OK, what)


def exit_status(findings: Iterable[Finding]) -> int:
    """The exit status for monitoring: that of the worst finding."""
    return max((EXIT[each.severity] for each in findings), default=0)


def as_text(findings: Iterable[Finding]) -> str:
    """Text for an operator: what passed, then what did not, worst first, and a line that counts both."""
    ordered = sorted(findings, key=lambda each: (each.severity is not Severity.OK, -EXIT[each.severity]))
    lines = []
    for each in ordered:
        lines.append(f"{each.severity.upper():7}  {each.id}: {each.what}")
        if each.severity is not Severity.OK:
            lines += [f"         why: {each.why}", f"         do:  {each.remedy}"]
    counts = {one: sum(each.severity is one for each in ordered) for one in Severity}
    found = [f"{count} {one}{'s' if count > 1 else ''}" for one, count in counts.items() if count]
    return "\n".join([*lines, ", ".join(found[counts[Severity.OK] > 0 :]) or "all well"])


def as_object(findings: Iterable[Finding]) -> dict[str, Any]:
    """An object for machines: `status`, `exit_status`, `passed`, and `findings` with what did not, worst first."""
    every = list(findings)
    bad = sorted((each for each in every if each.severity is not Severity.OK), key=lambda each: -EXIT[each.severity])
    worst = {0: Severity.OK, 1: Severity.WARNING, 2: Severity.FAULT}[exit_status(every)]
    return {
        "status": worst,
        "exit_status": exit_status(every),
        "passed": [{"id": each.id, "what": each.what} for each in every if each.severity is Severity.OK],
        "findings": [asdict(each) for each in bad],
    }
