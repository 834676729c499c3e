"""What a kamailio.cfg sets: modules, their parameters, sockets, core settings.

Owns the statements outside routes. Only Kamailio itself can tell whether it would start with the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kamailio.patching.preprocessor import Place, Preprocessor, Token, expanded, unquoted

_STATEMENTS = frozenset({"modparam", "modparamx", "loadmodule", "loadmodulex"})
_WORDS = {
    **dict.fromkeys(("yes", "true", "on", "enable"), "1"),
    **dict.fromkeys(("no", "false", "off", "disable"), "0"),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One modparam of a loaded module; `why` is the comment on the same line."""

    module: str
    name: str
    value: str
    place: Place
    why: str = ""


@dataclass
class Reading:
    """Everything that a configuration sets.

    Attributes:
        defines: by name, as text.
        modules: names of the loaded modules.
        parameters: in file order, with every define expanded.
        sockets: by the text after `listen=`, the place of the line.
        settings: of the core, such as `server_id`.
    """

    defines: dict[str, str] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    sockets: dict[str, Place] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def parameter(self, module: str, name: str) -> Parameter | None:
        """Return the modparam in force, which is the last one; None if the module's default applies."""
        return next((each for each in reversed(self.parameters) if (each.module, each.name) == (module, name)), None)

    def number(self, module: str, name: str, *, default: int) -> int | None:
        """Return the value of a numeric parameter; None if the value is not a number."""
        found = self.parameter(module, name)
        return default if found is None else as_number(found.value)

    def defined(self, name: str) -> str | None:
        """Return the fully expanded value of a define; None if nothing defines it."""
        if name not in self.defines:
            return None
        return "".join(token.text for token in expanded(Token("word", name, Place(Path(), 0)), self.defines))


def as_number(text: str) -> int | None:
    """Return a number as Kamailio's scanner reads it (2, 0x2, 02, 10b, yes); None for anything else."""
    text = _WORDS.get(text, text)
    for pattern, base in ((r"0|-?[1-9]\d*", 10), (r"0x[0-9a-fA-F]+", 16), (r"0[0-7]+", 8)):
        if re.fullmatch(pattern, text):
            return int(text, base)
    return int(text[:-1], 2) if re.fullmatch(r"[01]+b", text) else None


def read_configuration(text: str, path: Path, *, text_at: Callable[[Path], str | None]) -> Reading:
    """Read a configuration and the files that it includes.

    Args:
        text: of the configuration.
        path: of the configuration; the file need not exist.
        text_at: returns the text of another file; None when there is none.
    """
    preprocessor = Preprocessor(path, text_at)
    reader = _Reader(preprocessor.defines)
    for token in preprocessor.tokens(text, path):
        reader.take(token)
    return reader.found


class _Reader:
    def __init__(self, defines: dict[str, str]) -> None:
        self.found = Reading(defines)
        self._depth = 0  # of braces
        self._statement: list[Token] = []

    def take(self, token: Token) -> None:
        """Read one token more."""
        if token.kind == "sign" and token.text in "{}":
            if [each.text for each in self._statement] == ["socket", "="]:
                self.found.sockets[f"socket {{...}} in {token.place}"] = token.place
            self._depth += 1 if token.text == "{" else -1
            self._statement = []
        if self._depth > 0:
            return
        if token.kind == "comment":
            self._explain(token)
        elif token.kind != "end":
            self._statement.append(token)
            self._end_statement(token)
        elif not any(each.text in _STATEMENTS for each in self._statement):
            if self._statement[2:] and self._statement[1].text == "=":
                self._set(self._statement[0], self._statement[2:])
            self._statement = []

    def _explain(self, comment: Token) -> None:
        last = self.found.parameters[-1:]
        if last and last[0].place == comment.place and comment.text.startswith("#"):
            for index, each in enumerate(self.found.parameters):
                if each.place == comment.place:
                    self.found.parameters[index] = replace(each, why=comment.text.strip("# "))

    def _end_statement(self, token: Token) -> None:
        first = next((n for n, each in enumerate(self._statement) if each.text in _STATEMENTS), None)
        if first is None:
            return
        statement = self._statement[first:]
        if statement[0].text in ("loadmodule", "loadmodulex") and token.kind == "string":
            name = Path(unquoted(token.text)).name.removesuffix(".so")
            if name not in self.found.modules:  # both branches of an #!ifexp count
                self.found.modules.append(name)
            self.found.defines[f"MOD_{name}"] = ""
            self._statement = []
        elif statement[0].text in ("modparam", "modparamx") and token.text == ")":
            self._parameter(statement)
            self._statement = []

    def _parameter(self, statement: list[Token]) -> None:
        modules, name, value = _arguments(statement)
        for module in self.found.modules:
            if names(modules, module):
                self.found.parameters.append(Parameter(module, name, value, statement[0].place))

    def _set(self, name: Token, value: list[Token]) -> None:
        if name.text == "listen":
            self.found.sockets[_spelled(value)] = name.place
        else:
            self.found.settings[name.text] = _spelled(value)


def names(expression: str, module: str) -> bool:
    """Whether a modparam's first argument, a case-insensitive regular expression, matches a whole module name."""
    try:
        return re.fullmatch(f"({expression})", module, re.IGNORECASE) is not None
    except re.error:
        return False


def _arguments(statement: list[Token]) -> tuple[str, str, str]:
    """Return the three arguments between the parentheses. Adjacent strings form one string."""
    arguments: list[list[Token]] = [[]]
    for token in statement[2:-1]:
        if token.text == ",":
            arguments.append([])
        else:
            arguments[-1].append(token)
    texts = [
        "".join(unquoted(token.text) if token.kind == "string" else token.text for token in each) for each in arguments
    ]
    return tuple((*texts, "", "", "")[:3])  # type: ignore[return-value]


def _spelled(tokens: list[Token]) -> str:
    parts = [f" {token.text} " if token.text in ("name", "advertise") else token.text for token in tokens]
    return "".join(parts)
