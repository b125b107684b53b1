"""Against the regular expression that says the same, and against values that such an expression never ends on."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.wildcards import matches


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_is_its_expression(pattern: str, value: str) -> None:
    """For every short pattern and value."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")

    assert matches(pattern, value) == (re.fullmatch(expression, value, re.DOTALL) is not None)


def test_many_stars_before_what_is_not_there() -> None:
    """A hundred stars and 100,000 characters; the expression would try more ways than there are atoms."""
    assert not matches("a*" * 100 + "b?c", "a" * 100_000)
    assert matches("a*" * 100 + "?c", "a" * 100_000 + "bc")
