"""`make torture`: runs rounds on its own stack. The last line says how many promises were broken."""

from __future__ import annotations

import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from tests.stand.phone import Phone
from tests.torture.rounds import Result, Round
from tests.torture.stack import PASSWORD, REALM, USERNAMES, running


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=200, show_default=True, help="Number of rounds.")
@click.option("--db-mode", type=click.IntRange(1, 3), default=1, show_default=True, help="usrloc's mode.")
@click.option("--seed", type=int, help="Repeats the random choices of a run, but not the timing.")
def main(rounds: int, db_mode: int, seed: int | None) -> None:
    """Kill API, worker and Kamailio while phones register and clients flush, and count the broken promises.

    Exits with 1 if there are any. In db_mode 2 Kamailio is restarted instead of killed, and a REGISTER in the same
    second as a DELETE counts as later.
    """
    seed = secrets.randbelow(1000000) if seed is None else seed
    click.echo(f"seed {seed}, db_mode {db_mode}")
    total = Result()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        stand = stack.enter_context(running(directory, db_mode=db_mode))
        phones = [
            stack.enter_context(Phone(username, REALM, PASSWORD, proxy=stand.proxy.sip))
            for username in USERNAMES
            for _ in range(2)
        ]
        for number in range(rounds):
            result = Round(stand, phones, seed=seed * 1000 + number).run()
            total.flushes += result.flushes
            total.lost += result.lost
            total.newer_removed += result.newer_removed
            for story in result.stories:
                click.echo(f"round {number}:\n{story}")
            if (number + 1) % 20 == 0 and number + 1 < rounds:
                click.echo(f"{number + 1} rounds, {total.flushes} flushes")
    click.echo(
        f"torture: {rounds} rounds, {total.flushes} flushes, {total.lost} lost, {total.newer_removed} newer removed"
    )
    sys.exit(1 if total.lost or total.newer_removed else 0)


main()
