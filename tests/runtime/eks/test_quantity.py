"""Quantities are read as Kubernetes reads them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.eks.quantity import QuantityError, quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("250m", Fraction(1, 4)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.", 1),
        ("1Gi", 2**30),
        ("1.5Gi", 3 * 2**29),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("1e-3", Fraction(1, 1000)),
        ("123u", Fraction(123, 10**6)),
        ("+2k", 2000),
        ("-1", -1),
    ],
)
def test_quantities_are_exact(text: str, number: Fraction) -> None:
    """Examples of the API's own page, and each suffix's kind."""
    assert quantity(text) == number


@pytest.mark.parametrize(
    "text", ["", "1 core", "1GB", "1gi", "Gi", "0x10", "1m5", "1e", "1 ", "one", "1_000", "٣", "1\n", "NaN"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """With the value and what one looks like."""
    with pytest.raises(QuantityError, match="like 500m, 2 or 1Gi, got"):
        quantity(text)


@given(st.integers(0, 10**9), st.sampled_from(["m", "", "k", "Mi", "Ti"]))
def test_suffixes_keep_the_order(number: int, suffix: str) -> None:
    """A larger number of the same unit is a larger quantity."""
    assert quantity(f"{number}{suffix}") < quantity(f"{number + 1}{suffix}")
