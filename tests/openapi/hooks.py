"""What schemathesis has to be told: CSV is text to it."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.deserializer("text/csv")
def read_csv(context: Any, response: Any) -> str:
    """As it came; the tests of the export look into it."""
    text: str = response.text
    return text
