"""What the demo says: plain lines that stay readable in a pipe, with a little colour on a terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console

from tests.demo.signals import Interrupted


class Screen:
    """Standard output. Lines are never wrapped, so that they can be copied; when nobody reads them the demo ends."""

    def __init__(self) -> None:
        # soft_wrap: rich would break lines at 80 columns where there is no terminal; markup: "[::1]" is no style
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, text: str = "", *, style: str = "", end: str = "\n", last: bool = False) -> None:
        """Print one line.

        Raises:
            Interrupted: standard output is closed; not for one of the last words, when all ends anyway.
        """
        try:
            self._console.print(text, style=style or None, end=end)
            self._console.file.flush()
        except OSError:
            if not last:
                raise Interrupted from None

    def title(self, text: str) -> None:
        """Print a heading, with a blank line before it."""
        self.line()
        self.line(text, style="bold")

    def command(self, text: str) -> None:
        """Print a line to be pasted into a shell; nothing stands before it."""
        self.line(text, style="cyan")

    def answer(self, text: str) -> None:
        """Print what a command answered."""
        for line in text.splitlines():
            self.line(f"  {line}", style="green")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows in columns, the first row being the heading."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line(f"  {'  '.join(cells)}".rstrip(), style="" if number else "dim")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say what is being done before it is done, and how long it took."""
        self.line(f"  {text} ... ", end="")
        start = monotonic()
        try:
            yield
        except BaseException:
            self.line(last=True)
            raise
        self.line(f"{monotonic() - start:.1f} s", style="dim")
