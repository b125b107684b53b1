"""Sums against fractions: exact, and of one form whatever the order."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.exact_sum import ExactSums, expansion

FINITE = st.floats(-1e300, 1e300)
NUMBERS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([1e38, -1e38, 1e-45]), max_size=60
)


def value(result: tuple[float, tuple[float, ...] | None]) -> Fraction:
    """Return what an expansion is worth."""
    return sum((Fraction(term) for term in (result[0], *(result[1] or ()))), Fraction(0))


@given(st.lists(FINITE, max_size=20), st.randoms())
def test_an_expansion_is_exact_and_of_one_form(parts: list[float], random: object) -> None:
    """It is worth the sum, any order gives the same terms, and each is the nearest double to what is left."""
    result = expansion(parts)
    exact = sum(map(Fraction, parts), Fraction(0))
    assert value(result) == exact
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert expansion(parts) == result
    left = exact
    for term in (result[0], *(result[1] or ())):
        assert term == float(left)
        left -= Fraction(term)


@given(NUMBERS, st.lists(st.integers(0, 60), max_size=3))
def test_sums_are_exact_in_any_grouping(values: list[float], cuts: list[int]) -> None:
    """Numbers of very different size lose nothing, whole or in parts, and neither do their squares."""
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    for numbers in (np.array(values, dtype=np.float64), np.array(values, dtype=np.float64) ** 2):
        whole, parts = ExactSums(), ExactSums()
        whole.add(numbers)
        for start, stop in pairwise(bounds):
            parts.add(numbers[start:stop])
        assert value(whole.result(0)) == sum(map(Fraction, numbers.tolist()), Fraction(0))
        assert parts.result(0) == whole.result(0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(width=32, allow_nan=False, allow_infinity=False)), max_size=40))
def test_groups_are_added_apart(rows: list[tuple[int, float]]) -> None:
    """The sum of a group is that of its values alone."""
    groups, values = np.array([g for g, _ in rows], dtype=np.int64), np.array([v for _, v in rows], dtype=np.float64)
    together = ExactSums(4)
    together.add(values, groups)
    for group in range(4):
        alone = ExactSums()
        alone.add(values[groups == group])
        assert together.result(group) == alone.result(0)


def test_long_columns_are_exact() -> None:
    """More values than a block, more parts than are kept: still what fractions say."""
    random = np.random.default_rng(2)
    values = (
        (random.normal(size=50_000) * 10.0 ** random.integers(-20, 20, 50_000)).astype(np.float32).astype(np.float64)
    )
    sums = ExactSums(2)
    groups = random.integers(0, 2, 50_000)
    for start in range(0, 50_000, 100):
        sums.add(values[start : start + 100], groups[start : start + 100])
    assert len(sums._parts) <= 257
    whole = ExactSums()
    whole.add(values)
    exact = sum(map(Fraction, values.tolist()), Fraction(0))
    assert value(whole.result(0)) == exact == value(sums.result(0)) + value(sums.result(1))


@pytest.mark.parametrize("values", [[], [0.0], [-0.0, 0.0], [5.0, -5.0]])
def test_nothing_is_a_positive_zero(values: list[float]) -> None:
    """Zero has one form."""
    sums = ExactSums()
    sums.add(np.array(values))
    assert repr(sums.result(0)) == "(0.0, None)"
