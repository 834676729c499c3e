"""What a view asks of the hooks that run before it: one frozen policy a view, the default one where it has none."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from flask import current_app, request

View = TypeVar("View", bound=Callable[..., Any])


class Callers(StrEnum):
    """Who may call a view."""

    PUBLIC = "public"
    ANY_TOKEN = "any token"  # noqa: S105  # no password
    ACCOUNT = "own account or descendant"
    SUPERDUPER_ADMIN = "superduper admin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The policy of a view.

    Attributes:
        callers: who may call it; None: whoever the account in its path belongs to, or a superduper admin if the path
            has none (`api.access.callers`).
        cost: tokens that a request takes from the rate limit; 0: it is never limited, and never refused for its wait.
        counts: the account's bindings are counted with the check of the token, in one round trip (`Access.count`).
        has_csv: it answers CSV as well as JSON.
        has_own_type: it answers what it has, whatever the client accepts, like a file server.
    """

    callers: Callers | None = None
    cost: int = 1
    counts: bool = False
    has_csv: bool = False
    has_own_type: bool = False


# Of a view that says nothing, and of a request that no view answers.
DEFAULT = Policy()
# For supervisors, balancers and readers of the documentation.
OPEN = Policy(callers=Callers.PUBLIC, cost=0)

_policies: dict[Callable[..., Any], Policy] = {}


def follows(policy: Policy) -> Callable[[View], View]:
    """Give a view its policy."""

    def note(view: View) -> View:
        _policies[view] = policy
        return view

    return note


def policy_of(view: Callable[..., Any] | None) -> Policy:
    """The policy of a view function."""
    return DEFAULT if view is None else _policies.get(view, DEFAULT)


def current_policy() -> Policy:
    """The policy of the view that the request is routed to."""
    return policy_of(current_app.view_functions.get(request.endpoint or ""))
