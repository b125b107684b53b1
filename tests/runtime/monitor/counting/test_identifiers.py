"""Identifiers are recognised; amounts, small sets and rounded numbers are not taken for them."""

import numpy as np
import pytest

from mlops_runtime.monitor.counting.cells import to_coded
from mlops_runtime.monitor.counting.identifiers import number_identifier, text_identifier

RANDOM = np.random.default_rng(4)


def of_number(values: np.ndarray) -> str | None:
    """Return why a column of numbers is an identifier."""
    return number_identifier(values, np.sort(values.astype(np.float32)))


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.permutation(3000),
        RANDOM.permutation(3000).astype(np.float32),
        (5_000_000_000 + RANDOM.permutation(100_000)[:30_000]).astype(np.int64),  # beyond what 32-bit floats tell apart
    ],
)
def test_numbers_that_name_rows(values: np.ndarray) -> None:
    """Whole, none twice, and too close together for that to be chance."""
    assert of_number(values) == f"{len(values)} whole numbers of which none comes twice"


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.lognormal(5, 1, 3000).astype(np.float32),  # fractions
        RANDOM.choice(10**9, 3000, replace=False),  # so wide a range that chance repeats none
        np.append(RANDOM.permutation(3000), 5),  # one comes twice
        np.arange(100),  # too few to tell
        (RANDOM.random(3000) * 1e9).astype(np.float32),  # whole only because 32 bits do not hold their fractions
        np.zeros(3000),
        np.array([]),
    ],
)
def test_numbers_that_do_not(values: np.ndarray) -> None:
    """Amounts, repeats, and too little evidence."""
    assert of_number(values) is None


def test_texts_that_name_rows() -> None:
    """Nearly all distinct."""
    orders = [f"order {number}" for number in range(980)] + ["order 1"] * 20 + [None] * 500
    assert text_identifier(to_coded(orders)[0]) == "980 of 1000 values are distinct"


@pytest.mark.parametrize(
    "values",
    [
        [f"store {number % 900}" for number in range(1000)],
        [f"store {number}" for number in range(100)],
        [None] * 1000,
        [],
    ],
)
def test_texts_that_do_not(values: list[str | None]) -> None:
    """Many levels that come again, or too few rows."""
    assert text_identifier(to_coded(values)[0]) is None
