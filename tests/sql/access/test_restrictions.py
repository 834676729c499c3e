"""Restrictions of tokens: which paths a pattern matches, and what is no restriction at all."""

from __future__ import annotations

from typing import Any

import pytest

from sql.access.restrictions import BadRestrictions, allows, read_restrictions


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("accounts/a/registrations", "accounts/a/registrations", True),
        ("accounts/a/registrations", "accounts/a/registrations/", True),
        ("/accounts/a/registrations/", "accounts/a/registrations", True),
        ("accounts/a/registrations", "accounts/a/registrations/count", False),
        ("accounts/a/registrations", "accounts/b/registrations", False),
        ("accounts/a/registrations", "accounts/A/registrations", False),
        ("accounts/*/registrations", "accounts/a/registrations", True),
        ("accounts/*", "accounts", False),
        ("accounts/*", "accounts/a/registrations", False),
        ("accounts/a*", "accounts/ab", False),
        ("accounts/a/registrations/#", "accounts/a/registrations", True),
        ("accounts/a/registrations/#", "accounts/a/registrations/bob", True),
        ("accounts/a/#", "accounts/a/devices/d/sync", True),
        ("accounts/a/#", "accounts/ab/devices", False),
        ("#", "token_auth", True),
        ("#/count", "accounts/a/registrations/count", True),
        ("#/count", "count", True),
        ("#/count", "accounts/a/registrations", False),
        ("accounts/#/count", "accounts/count", True),
        ("#/a/#/b", "x/a/y/a/b", True),
        ("#/*/#", "one", True),
        ("*/#/*", "one", False),
        ("", "accounts", False),
        (".*", "accounts", False),
    ],
)
def test_a_pattern_matches_the_whole_path_by_segments(pattern: str, path: str, matched: bool) -> None:
    """`*` is one segment, `#` any number of them, everything else is itself."""
    assert allows(read_restrictions({"GET": [pattern]}), method="GET", path=path) is matched


@pytest.mark.parametrize(
    ("allowed", "method", "expected"),
    [
        ("GET", "GET", True),
        ("get", "GET", True),
        ("get", "HEAD", True),
        ("get", "DELETE", False),
        ("*", "DELETE", True),
        ("_", "PUT", True),
    ],
)
def test_a_method_is_named_in_any_case(allowed: str, method: str, expected: bool) -> None:
    """`*`, and Kazoo's `_`, are every method; HEAD is a GET."""
    assert allows(read_restrictions({allowed: ["#"]}), method=method, path="token_auth") is expected


def test_the_same_method_in_two_spellings_has_the_patterns_of_both() -> None:
    """Neither hides the other."""
    assert read_restrictions({"get": ["a"], "GET": ["b"]}) == {"GET": ["a", "b"]}


def test_a_pattern_made_to_be_slow_is_not() -> None:
    """The work is at most length of pattern times length of path, however the wildcards lie."""
    restrictions = read_restrictions({"GET": ["#/a/" * 200 + "b"]})
    assert not allows(restrictions, method="GET", path="a/" * 200)


@pytest.mark.parametrize("given", [None, [], "get", {"get": None}, {"get": {"#": True}}, {"": ["#"]}, {"get": ["\n"]}])
def test_anything_else_is_refused(given: Any) -> None:
    """So that a mistake does not become a token that opens nothing, or everything."""
    with pytest.raises(BadRestrictions):
        read_restrictions(given)
