"""`python -m tests.adoption` compares every combination, or those whose name has all words, and prints a table."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from tests.adoption.features import COMBINATIONS
from tests.adoption.product import compare_all


@click.command()
@click.argument("words", nargs=-1)
def main(words: tuple[str, ...]) -> None:
    """Compare the stock proxy with an adopted one in every combination whose name contains all WORDS."""
    chosen = [each for each in COMBINATIONS if all(word in str(each) for word in words)]
    with tempfile.TemporaryDirectory(prefix="adoption-") as directory:
        results = compare_all(chosen, directory=Path(directory), say=click.echo)
    if not all(each.holds for each in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
