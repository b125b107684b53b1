"""Regular expressions with known matching time, and the reported problems."""

import pytest
from tools.pattern_time import UnknownPatternError, slow


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        ("a+b", "fullmatch"),
        ("a+", "sub"),
        ("[^a-z]+", "split"),
        (r"^\s+$", "search"),
        (r"column (.+) is missing", "fullmatch"),
        (r"\$\{[^{}$]*\}", "finditer"),
        (r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "fullmatch"),
        (r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,119}", "fullmatch"),
        (r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+", "fullmatch"),
        (r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", "fullmatch"),
        (r"(?<=[a-z])(?=[A-Z])", "sub"),
        (r"x{3}y{2,5}", "search"),
        (r"x??y", "match"),
        (r"([a-z]|\w)*\.", "fullmatch"),  # one set to Python's parser
    ],
)
def test_linear_ones_pass(pattern: str, method: str) -> None:
    """Nothing is reported."""
    assert slow(pattern, method=method) is None


@pytest.mark.parametrize(
    ("pattern", "method", "why"),
    [
        ("a+b", "search", "a search begins anew in a loop"),
        (r"\s+$", "sub", "a search begins anew in a loop"),
        (r"a+(?=b)", "search", "a search begins anew in a loop"),
        (r"column (.+) is missing", "search", "a search begins anew in a loop"),
        (r"\$\{[^}]*\}", "finditer", "a search begins anew in a loop"),
        (r"(?m)^\s+x", "search", "a search begins anew in a loop"),
        ("a*a*b", "fullmatch", "two loops divide the same characters"),
        (r"\S+/\S+@x", "fullmatch", "two loops divide the same characters"),
        (r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", "fullmatch", "two loops divide the same characters"),
        (r"[a-z]\d[a-z]*d[a-z]*", "fullmatch", "two loops divide the same characters"),
        (r"(x*y*){2,9}z", "fullmatch", "two loops divide the same characters"),
        ("(a+)+b", "fullmatch", "a loop repeats a loop"),
        ("(a*)*b", "fullmatch", "a loop repeats a loop"),
        ("(ab|a|ba)*c", "fullmatch", "a loop can be passed in two ways"),
        ("(a|aa)*b", "fullmatch", "a loop can be passed in two ways"),
    ],
)
def test_slow_ones_are_named(pattern: str, method: str, why: str) -> None:
    """With the slow part."""
    assert slow(pattern, method=method) == why


@pytest.mark.parametrize("pattern", [r"(a)\1", "a(?=b*c)", "(a||b?)*"])
def test_fails_on_what_nothing_can_be_said_of(pattern: str) -> None:
    """Backreferences, loops in assertions, two ways to match the empty string."""
    with pytest.raises(UnknownPatternError):
        slow(pattern, method="fullmatch")
