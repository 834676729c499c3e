"""Every route of the application with every verb, read from its URL map, so that tests cover new routes too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from flask import Flask

from api.policy import Callers, Policy, policy_of

VERBS = {"DELETE", "GET", "PATCH", "POST", "PUT"}


@dataclass(frozen=True)
class Route:
    """One verb of one rule.

    Attributes:
        method: the verb; HEAD and OPTIONS, which Flask adds, are left out.
        rule: the rule of the URL map.
        arguments: names of the arguments, in the order of the path.
        policy: the policy of its view.
        has_account: whether the path has an account, or the alias `/v2/account`.
    """

    method: str
    rule: str
    arguments: tuple[str, ...]
    policy: Policy
    has_account: bool

    @property
    def is_public(self) -> bool:
        """Whether it needs no token."""
        return self.policy.callers is Callers.PUBLIC

    @property
    def is_for_any_token(self) -> bool:
        """Whether any token opens it, although its path has no account."""
        return self.policy.callers is Callers.ANY_TOKEN

    @property
    def names_account(self) -> bool:
        """Whether the request names the account. Otherwise the token does."""
        return "account_id" in self.arguments

    def path(self, values: Mapping[str, str | bytes]) -> str:
        """Return the path with these values, percent-encoded, for its arguments; `nosuch` for each missing one."""
        path = self.rule
        for part in path.split("/"):
            if part.startswith("<"):
                path = path.replace(part, quote(values.get(part.strip("<>").rpartition(":")[2], "nosuch"), safe=""))
        return path


def every_route(app: Flask) -> Iterator[Route]:
    """Return each rule with each of its verbs, sorted by path."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        for method in sorted((rule.methods or set()) & VERBS):
            arguments = tuple(
                part.strip("<>").rpartition(":")[2] for part in rule.rule.split("/") if part.startswith("<")
            )
            has_account = "account_id" in arguments or "account_id" in (rule.defaults or {})
            yield Route(method, rule.rule, arguments, policy_of(app.view_functions[rule.endpoint]), has_account)
