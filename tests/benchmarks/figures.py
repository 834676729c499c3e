"""Figures with their goals, outcomes with their spread, and the registry of the functions that measure them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks.bed import Bed


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        name: its name for BENCH=.
        title: what is compared with what.
        unit: of ours and of the reference.
        goal: for the ratio, or for ours if there is no reference; None: the figure is only shown.
        at_least: whether the goal is a lower bound. Otherwise it is an upper one.
    """

    name: str
    title: str
    unit: str
    goal: float | None = None
    at_least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result, one value for each round. Ours and the reference were measured in turns."""

    figure: Figure
    ours: Sequence[float]
    reference: Sequence[float] = ()
    note: str = ""

    @property
    def values(self) -> list[float]:
        """The values that are compared with the goal: the ratio of each round, or ours."""
        if not self.reference:
            return list(self.ours)
        return [ours / reference for ours, reference in zip(self.ours, self.reference, strict=True)]

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without a goal."""
        if self.figure.goal is None:
            return None
        return self.value >= self.figure.goal if self.figure.at_least else self.value <= self.figure.goal

    def as_object(self) -> dict[str, Any]:
        """Return the outcome for bench.json."""
        return {
            "name": self.figure.name,
            "title": self.figure.title,
            "unit": self.figure.unit,
            "ours": statistics.median(self.ours),
            "reference": statistics.median(self.reference) if self.reference else None,
            "ratio": self.value if self.reference else None,
            "goal": self.figure.goal,
            "goal_is": "at least" if self.figure.at_least else "at most",
            "met": self.met,
            "spread": {"min": min(self.values), "median": self.value, "max": max(self.values)},
            "rounds": {"ours": list(self.ours), "reference": list(self.reference)},
            "note": self.note,
        }


Measurement = Callable[["Bed"], Iterator[Outcome]]


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that one function measures together."""

    figures: tuple[Figure, ...]
    run: Measurement


@dataclass(slots=True)
class Registry:
    """All groups. A module adds its own when it is imported."""

    groups: list[Group] = field(default_factory=list)

    def measures(self, *figures: Figure) -> Callable[[Measurement], Measurement]:
        """Decorate a function that yields one outcome for each of these figures."""

        def add(run: Measurement) -> Measurement:
            self.groups.append(Group(figures, run))
            return run

        return add

    @property
    def names(self) -> list[str]:
        """Names of all figures."""
        return [figure.name for group in self.groups for figure in group.figures]

    def chosen(self, names: Sequence[str], *, order: Sequence[str]) -> list[Group]:
        """Return the groups that have one of these figures, or all groups without names, in the order of the modules.

        Raises:
            ValueError: there is no figure of that name.
        """
        if unknown := set(names) - set(self.names):
            raise ValueError(f"unknown figure {', '.join(sorted(unknown))}; known are {', '.join(self.names)}")
        ordered = sorted(self.groups, key=lambda group: order.index(group.run.__module__))
        return [group for group in ordered if not names or {figure.name for figure in group.figures} & set(names)]


registry = Registry()
measures = registry.measures


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
