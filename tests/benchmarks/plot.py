"""Draws bench.svg from bench.json: the costs over the number of rows, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

LEFT, TOP, WIDE, HIGH, RIGHT, BOTTOM = 70, 30, 420, 380, 220, 50
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#8e5ea2", "#e58f09", "#3cbbb1", "#5d576b", "#c17c74", "#808000", "#111111")


def draw(growth: dict[str, Any]) -> str:
    """Return the plot as SVG."""
    rows: Sequence[int] = growth["rows"]
    costs: dict[str, Sequence[float]] = growth["costs"]
    values = [max(value, 1e-3) for line in costs.values() for value in line]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    first, last = log10(rows[0]), log10(rows[-1])

    def x(count: float) -> float:
        return LEFT + WIDE * (log10(count) - first) / max(last - first, 1e-9)

    def y(milliseconds: float) -> float:
        return TOP + HIGH * (high - log10(max(milliseconds, 1e-3))) / max(high - low, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + RIGHT}" height="{TOP + HIGH + BOTTOM}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18">milliseconds over rows in location</text>',
    ]
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDE}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10**power:g}</text>')
    for count in rows:
        parts.append(f'<text x="{x(count):.1f}" y="{TOP + HIGH + 20}" text-anchor="middle">{count:,}</text>')
    ends = sorted(costs, key=lambda label: costs[label][-1], reverse=True)
    for place, label in enumerate(ends):
        colour = COLOURS[list(costs).index(label) % len(COLOURS)]
        points = " ".join(f"{x(count):.1f},{y(cost):.1f}" for count, cost in zip(rows, costs[label], strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = TOP + 14 + place * 18
        parts.append(f'<text x="{LEFT + WIDE + 20}" y="{at}" fill="{colour}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])
