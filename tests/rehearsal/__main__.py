"""`make rehearsal` takes all steps of the adoption and stops at the first one that fails.

Then it compares every phone of tests/adoption at every stock proxy, before and after adoption.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from tests.adoption.features import COMBINATIONS
from tests.adoption.product import compare_all
from tests.rehearsal.stage import NotHeld
from tests.rehearsal.steps import rehearse


@click.command()
@click.option("--phones", default=1000, show_default=True, help="Number of phones that refresh meanwhile.")
@click.option("--install/--no-install", default=True, show_default=True, help="Use a new virtual environment.")
@click.option(
    "--compare/--no-compare", default=True, show_default=True, help="Compare each kind of phone before and after."
)
def main(phones: int, *, install: bool, compare: bool) -> None:
    """Adopt a stock proxy with live phones, use it, and uninstall again, on temporary files."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as directory:
        try:
            steps = rehearse(Path(directory), phones=phones, install=install, say=click.echo)
        except NotHeld as error:
            click.echo(f"rehearsal: {error}", err=True)
            sys.exit(1)
        click.echo(f"rehearsal: {steps} steps, all held")
        if compare:
            results = compare_all(COMBINATIONS, directory=Path(directory) / "adoption", say=click.echo)
            failed = sum(not each.holds for each in results)
            click.echo(f"rehearsal: {len(results)} combinations, {failed or 'none'} with unwanted differences")
            sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
