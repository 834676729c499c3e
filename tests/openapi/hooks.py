"""Hooks for schemathesis: it reads CSV as text."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.deserializer("text/csv")
def read_csv(context: Any, response: Any) -> str:
    """Return the reply's text. The tests of the export check the CSV itself."""
    text: str = response.text
    return text
