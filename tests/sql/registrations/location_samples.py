"""The real rows of data/location_samples.sql, loadable into any location table and moved to the present."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg

SAMPLES = Path(__file__).parent / "data" / "location_samples.sql"
# When the rows were taken: Unix seconds of 2026-11-21 00:00:00 UTC, by `date -u -d 2026-11-21 +%s`.
DAY = 1795219200


def statements() -> list[str]:
    """One INSERT for each row. Their ids repeat, so PostgreSQL gives new ones."""
    lines = SAMPLES.read_text(encoding="utf-8").splitlines()
    return [re.sub(r"VALUES \(\d+,", "VALUES (DEFAULT,", line) for line in lines if line.startswith("INSERT")]


def load(connection: psycopg.Connection, *, midnight: int) -> None:
    """Insert the rows as if the day they were taken on had begun at another second.

    Args:
        connection: of a database with usrloc's location table.
        midnight: Unix seconds that take the place of 2026-11-21 00:00:00 UTC.
    """
    moved = midnight - DAY
    column = connection.execute(
        "select data_type from information_schema.columns where table_name = 'location' and column_name = 'expires'"
    ).fetchone()
    assert column is not None

    def move(match: re.Match[str]) -> str:
        seconds = int(datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp())
        permanent = abs(seconds) <= 14 * 3600
        if column[0] == "bigint":
            return "0" if permanent else str(seconds + moved)
        if permanent:
            return match[0]
        return f"'{datetime.fromtimestamp(seconds + moved, UTC):%Y-%m-%d %H:%M:%S}'"

    for insert in statements():
        connection.execute(re.sub(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)'", move, insert))
