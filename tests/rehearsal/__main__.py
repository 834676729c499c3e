"""`make rehearsal`: take all steps, say what is done, end with what held or with the step that did not."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from tests.rehearsal.stage import NotHeld
from tests.rehearsal.steps import rehearse


@click.command()
@click.option("--phones", default=1000, show_default=True, help="How many refresh meanwhile.")
@click.option("--install/--no-install", default=True, show_default=True, help="Into a virtual environment of its own.")
def main(phones: int, *, install: bool) -> None:
    """Adopt a stock proxy with live phones, use it, and leave again, on files that are thrown away."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as directory:
        try:
            steps = rehearse(Path(directory), phones=phones, install=install, say=click.echo)
        except NotHeld as error:
            click.echo(f"rehearsal: {error}", err=True)
            sys.exit(1)
    click.echo(f"rehearsal: {steps} steps, all held")


if __name__ == "__main__":
    main()
