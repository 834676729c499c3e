"""The text of a kamailio.cfg as a script: its comments, strings and blocks, and where it can take new lines.

Owns no edits: `kamailio.patching.edits` and `kamailio.patching.values` decide what to insert.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')
_COMMENT = re.compile(r"(?s:/\*.*?\*/)|#.*|//.*")
BY_HAND = "edit it by hand, as the first lines of registrations.cfg explain"


class NotUnderstood(Exception):
    """We cannot edit the configuration as it is written; the message says what, where, and what to do."""


@dataclass(frozen=True)
class Insertion:
    """Lines to insert before the line that begins at an offset."""

    at: int
    lines: list[str]


def line_at(text: str, offset: int) -> int:
    """Return the number of the line that contains an offset."""
    return text.count("\n", 0, offset) + 1


class Script:
    """A configuration in three versions with the same offsets.

    Attributes:
        text: as it is.
        uncommented: with spaces instead of comments.
        bare: with spaces instead of comments and strings.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        tokens = re.compile(f"{STRING.pattern}|{_COMMENT.pattern}")
        self.uncommented = tokens.sub(lambda found: found[0] if found[0][0] in "\"'" else _blank(found[0]), text)
        self.bare = tokens.sub(lambda found: _blank(found[0]), text)
        self._spans = [found.span() for found in tokens.finditer(text)]

    def is_within_a_comment(self, offset: int) -> bool:
        """Whether an offset is inside a comment or a string."""
        return any(start < offset < end for start, end in self._spans)

    def refuse_within_a_comment(self, offset: int) -> None:
        """Raise NotUnderstood if an offset is inside a comment or a string."""
        if self.is_within_a_comment(offset):
            raise NotUnderstood(f"line {line_at(self.text, offset)}: a comment or a string continues there: {BY_HAND}")

    def blocks(self, header: str) -> Iterator[tuple[int, int]]:
        """Yield the offsets of the braces of each route with that header, a regular expression.

        There may be several: an `#!ifdef` chooses.
        """
        for found in re.finditer(header + r"\s*\{", self.uncommented):
            yield found.end() - 1, self.closing(found.end() - 1)

    def closing(self, opening: int) -> int:
        """Return the offset of the brace that closes the one at `opening`."""
        depth = 0
        for found in re.compile("[{}]").finditer(self.bare, opening):
            depth += 1 if found[0] == "{" else -1
            if depth == 0:
                return found.start()
        raise NotUnderstood(f"line {line_at(self.text, opening)}: this brace is not closed")

    def line_start(self, offset: int) -> int:
        """Return the offset at which the line begins."""
        return self.text.rfind("\n", 0, offset) + 1

    def next_line(self, offset: int) -> int:
        """Return the offset at which the next line begins. Raise NotUnderstood if code follows on this line."""
        end = self.text.find("\n", offset)
        end = len(self.text) if end < 0 else end + 1
        if self.bare[offset:end].strip():
            raise NotUnderstood(
                f"line {line_at(self.text, offset)}: there is more after {self.text[offset - 1]!r}; "
                "begin a new line there, then try again"
            )
        return end

    def gives(self, defines: Mapping[str, str], name: str) -> bool:
        """Whether the script or `defines` defines a name."""
        return name in defines or re.search(rf"^#!\w+ {name}\b", self.text, re.MULTILINE) is not None


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)
