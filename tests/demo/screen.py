"""The demo's output: plain lines that are readable in a pipe too, with some colour on a terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console

from tests.demo.signals import Interrupted


class Screen:
    """Standard output. Lines are never wrapped, so that they can be copied. The demo ends if the output is closed."""

    def __init__(self) -> None:
        # soft_wrap: without a terminal rich would break lines at 80 columns. markup: "[::1]" is not a style.
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, text: str = "", *, style: str = "", end: str = "\n", last: bool = False) -> None:
        """Print one line.

        Raises:
            Interrupted: standard output is closed. Not raised with `last`, for a line printed while the demo ends.
        """
        try:
            self._console.print(text, style=style or None, end=end)
            self._console.file.flush()
        except OSError:
            if not last:
                raise Interrupted from None

    def title(self, text: str) -> None:
        """Print a blank line and a heading."""
        self.line()
        self.line(text, style="bold")

    def command(self, text: str) -> None:
        """Print a line to paste into a shell, without indentation."""
        self.line(text, style="cyan")

    def answer(self, text: str) -> None:
        """Print the answer of a command."""
        for line in text.splitlines():
            self.line(f"  {line}", style="green")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows in columns. The first row is the heading."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line(f"  {'  '.join(cells)}".rstrip(), style="" if number else "dim")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Print what the block does before it runs, and how long it took."""
        self.line(f"  {text} ... ", end="")
        start = monotonic()
        try:
            yield
        except BaseException:
            self.line(last=True)
            raise
        self.line(f"{monotonic() - start:.1f} s", style="dim")
