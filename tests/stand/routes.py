"""Every route of the application with every verb, taken from its URL map: a route to come is covered by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import Flask

VERBS = {"DELETE", "GET", "PATCH", "POST", "PUT"}


@dataclass(frozen=True)
class Route:
    """One verb of one rule.

    Attributes:
        method: HEAD and OPTIONS, which Flask adds, are left out.
        rule: as the URL map has it.
        arguments: their names, in the order of the path.
        view: the function, with the marks of `api.access`.
        has_account: whether an account stands in the path, also by the alias `/v2/account`.
    """

    method: str
    rule: str
    arguments: tuple[str, ...]
    view: Any
    has_account: bool

    @property
    def is_public(self) -> bool:
        """Open to everybody."""
        return bool(getattr(self.view, "is_public", False))

    @property
    def is_for_any_token(self) -> bool:
        """Open to whoever has a token, though it has no account in its path."""
        return bool(getattr(self.view, "is_for_any_token", False))

    @property
    def names_account(self) -> bool:
        """Whether a request says whose account it is, rather than the token."""
        return "account_id" in self.arguments

    def path(self, values: Mapping[str, str | bytes]) -> str:
        """The path with these values, percent-encoded, in place of its arguments; `nosuch` where there is none."""
        path = self.rule
        for part in path.split("/"):
            if part.startswith("<"):
                path = path.replace(part, quote(values.get(part.strip("<>").rpartition(":")[2], "nosuch"), safe=""))
        return path


def every_route(app: Flask) -> Iterator[Route]:
    """Each rule with each of its verbs, in the order of the paths."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        for method in sorted((rule.methods or set()) & VERBS):
            arguments = tuple(
                part.strip("<>").rpartition(":")[2] for part in rule.rule.split("/") if part.startswith("<")
            )
            has_account = "account_id" in arguments or "account_id" in (rule.defaults or {})
            yield Route(method, rule.rule, arguments, app.view_functions[rule.endpoint], has_account)
