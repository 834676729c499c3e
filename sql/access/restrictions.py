"""Restrictions of a token: which methods it may use on which paths. Reading them, and telling whether they allow.

Kazoo's form (Crossbar, token_auth.md): ``{method: [pattern, ...]}``. A pattern is matched against the whole path below
``/v2/``, segment by segment and in its case, without slashes at either end: ``accounts/abc/registrations/count``. The
alias ``account/...`` is matched as the path it stands for, and the query is not looked at. As in AMQP, ``*`` is one
segment, ``#`` any number of them, none too; both stand for whole segments only. What no pattern allows is refused.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

ANY_METHOD = frozenset({"*", "_"})
METHODS = ANY_METHOD | {"DELETE", "GET", "PATCH", "POST", "PUT"}
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

Restrictions = dict[str, list[str]]


class BadRestrictions(ValueError):
    """Something is not ``{method: [pattern, ...]}``."""

    def __init__(self, rule: str, message: str) -> None:
        """Say what is wrong.

        Args:
            rule: the rule of JSON Schema that is broken.
            message: one line for whoever wrote them.
        """
        super().__init__(message)
        self.rule = rule


def read_restrictions(given: Any) -> Restrictions:
    """Check what a client or an operator wrote, and bring it to one form: methods in upper case, patterns trimmed.

    Raises:
        BadRestrictions: it is something else.
    """
    if not isinstance(given, dict):
        raise BadRestrictions("type", "must be an object of methods, each with an array of path patterns")
    restrictions: Restrictions = {}
    for method, patterns in given.items():
        if method.upper() not in METHODS:
            raise BadRestrictions("enum", f"a method is one of {', '.join(sorted(METHODS))}, in any case")
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise BadRestrictions("type", f"{method} must have an array of path patterns")
        if any(_UNFIT.search(pattern) for pattern in patterns):
            raise BadRestrictions("pattern", f"a path pattern of {method} has a character that no path has")
        restrictions.setdefault(method.upper(), []).extend(pattern.strip("/") for pattern in patterns)
    return restrictions


def allows(restrictions: Mapping[str, Iterable[str]], *, method: str, path: str) -> bool:
    """Whether a token with these restrictions may do this.

    Args:
        restrictions: as :func:`read_restrictions` gives them.
        method: of the request, in upper case; HEAD counts as GET.
        path: below ``/v2/``, decoded.
    """
    wanted = {"GET" if method == "HEAD" else method} | ANY_METHOD
    segments = path.strip("/").split("/")
    return any(
        _matches(pattern.split("/"), segments)
        for allowed, patterns in restrictions.items()
        if allowed in wanted
        for pattern in patterns
    )


def _matches(pattern: list[str], segments: list[str]) -> bool:
    # How many segments can be used up so far, in every way: no pattern takes longer than its length times the path's.
    used = {0}
    for each in pattern:
        if each == "#":
            used = set(range(min(used), len(segments) + 1))
        else:
            used = {at + 1 for at in used if at < len(segments) and each in {"*", segments[at]}}
        if not used:
            return False
    return len(segments) in used
