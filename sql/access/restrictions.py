"""Restrictions of a token: which methods it may use on which paths.

Kazoo's form (Crossbar, token_auth.md): ``{method: [pattern, ...]}``. A pattern is matched against the whole path below
``/v2/``, segment by segment, case-sensitively, without slashes at either end: ``accounts/abc/registrations/count``. The
alias ``account/...`` is matched as the path that it stands for; the query is ignored. As in AMQP, ``*`` is one segment
and ``#`` any number of segments, also none; both stand for whole segments only. Everything else is refused.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

ANY_METHOD = frozenset({"*", "_"})
METHODS = ANY_METHOD | {"DELETE", "GET", "PATCH", "POST", "PUT"}
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

Restrictions = dict[str, list[str]]


class BadRestrictions(ValueError):
    """The restrictions are not ``{method: [pattern, ...]}``."""

    def __init__(self, rule: str, message: str) -> None:
        """Describe the mistake.

        Args:
            rule: the rule of JSON Schema that is violated.
            message: one line for the author.
        """
        super().__init__(message)
        self.rule = rule


def read_restrictions(given: Any) -> Restrictions:
    """Validate and normalise what a client or an operator wrote: methods in upper case, patterns trimmed.

    Raises:
        BadRestrictions: they are invalid.
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
        restrictions: as :func:`read_restrictions` returns them.
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
    # The numbers of segments that the pattern so far can match. So the time is at most its length times the path's.
    used = {0}
    for each in pattern:
        if each == "#":
            used = set(range(min(used), len(segments) + 1))
        else:
            used = {at + 1 for at in used if at < len(segments) and each in {"*", segments[at]}}
        if not used:
            return False
    return len(segments) in used
