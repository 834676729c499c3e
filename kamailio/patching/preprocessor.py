"""Kamailio's preprocessor: evaluates conditions, defines and includes of a kamailio.cfg.

Follows core/cfg.lex. Owns the tokens; `kamailio.patching.reading` parses the statements.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?:#!|!!)(?P<directive>(?:try|re)?def(?:ine)?|def(?:exp|env)s?|trydefenvs?|substdefs?|subst|if(?:n?def|exp)|else|endif)\b"
    r"(?P<rest>(?:[^\n\\]|\\[\s\S])*)"
    r"|(?:#!|!!)?\b(?:include|import)_file\b[ \t]*(?P<file>\"[^\"\n]*\"|'[^'\n]*'|\S+)"
    r"|(?P<comment>/\*[\s\S]*?(?:\*/|\Z)|(?:#|//)[^\n]*)"
    r"|(?P<string>\"(?:\\[\s\S]|[^\"\\])*\"|'[^']*')"
    r"|(?P<word>\w+)"
    r"|(?P<sign>[^\s\w])"
    r"|(?P<end>\n)"
)
_DEEPEST = 20  # defines within defines, and files within files


class Place(NamedTuple):
    """A line of a file."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


class Token(NamedTuple):
    """A token of the configuration; its kind is comment, string, word, sign or end (of a line)."""

    kind: str
    text: str
    place: Place


class Preprocessor:
    """Turns text into tokens, without those of branches that Kamailio skips.

    Attributes:
        defines: by name, as text. The caller may add defines between two tokens.
    """

    def __init__(self, main: Path, text_at: Callable[[Path], str | None]) -> None:
        self.defines: dict[str, str] = {}
        self._main, self._text_at = main, text_at

    def tokens(self, text: str, path: Path, *, depth: int = 0) -> Iterator[Token]:
        """Yield the tokens of a file and of the files that it includes, with every define expanded.

        Args:
            text: of the file.
            path: where the file is.
            depth: how many files include this one.
        """
        conditions: list[bool | None] = []  # None: `#!ifexp`. Only Kamailio can evaluate it, so both branches count.
        line = 1
        for token in _TOKEN.finditer(text):
            place = Place(path, line)
            line += token[0].count("\n")
            if token["directive"] in ("ifdef", "ifndef", "ifexp", "else", "endif"):
                self._condition(token["directive"], token["rest"].split(), conditions)
            elif False in conditions:
                continue
            elif token["directive"]:
                _define(token["directive"], token["rest"].strip(), self.defines)
            elif token["file"]:
                yield from self._included(Path(token["file"].strip("\"'")), path, depth)
            else:
                yield from expanded(Token(str(token.lastgroup), token[0], place), self.defines)

    def _condition(self, directive: str, words: list[str], conditions: list[bool | None]) -> None:
        if directive == "ifexp":
            conditions.append(None)
        elif directive in ("ifdef", "ifndef"):
            conditions.append((bool(words) and words[0] in self.defines) is (directive == "ifdef"))
        elif conditions and directive == "endif":
            conditions.pop()
        elif conditions:
            conditions[-1] = None if conditions[-1] is None else not conditions[-1]

    def _included(self, name: Path, path: Path, depth: int) -> Iterator[Token]:
        for place in (path.parent / name, self._main.parent / name):
            text = self._text_at(place)
            if text is not None:
                if depth < _DEEPEST:
                    yield from self.tokens(text, place, depth=depth + 1)
                return


def unquoted(string: str) -> str:
    """Return a string of the configuration without its quotes and escapes."""
    return re.sub(r"\\(.)", r"\1", string[1:-1]) if string.startswith('"') else string[1:-1]


def expanded(token: Token, defines: Mapping[str, str], depth: int = 0) -> Iterator[Token]:
    """Yield the tokens that a token stands for: itself, unless it names a define."""
    if token.kind != "word" or token.text not in defines or depth > _DEEPEST:
        yield token
        return
    for found in _TOKEN.finditer(defines[token.text]):
        if found.lastgroup in ("string", "word", "sign"):
            yield from expanded(Token(found.lastgroup, found[0], token.place), defines, depth + 1)


def _define(directive: str, rest: str, defines: dict[str, str]) -> None:
    if directive.startswith("subst"):
        text = unquoted(rest) if rest[:1] in ("'", '"') else rest
        parts = re.split(rf"(?<!\\){re.escape(text[:1])}", text) if text else []
        if directive == "subst" or len(parts) < 3:
            return
        name, value = parts[1], _evaluated(parts[2], defines)
        defines.setdefault(name, f'"{value}"' if directive == "substdefs" else value)
        return
    name, value = (*rest.split(None, 1), "", "")[:2]
    if "env" in directive:
        name, _, variable = rest.partition("=")
        found = os.environ.get((variable or name).strip())
        if found is not None:
            defines.setdefault(name.strip(), f'"{found}"' if directive.endswith("s") else found)
    elif "exp" in directive:
        defines.setdefault(name, "")
    elif directive.startswith("re"):
        defines[name] = value.strip()
    else:
        defines.setdefault(name, value.strip())


def _evaluated(text: str, defines: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return (defines if found[1] == "def" else os.environ).get(found[2], "")

    return re.sub(r"\$\(?(def|env)\((\w+)\)(?:\{[^}]*\})*\)?", value, text)
