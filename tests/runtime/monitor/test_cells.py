"""Cells and values: text and JSON agree, invalid values are counted."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.cells import category_counts, number_cells, to_numbers


@given(st.lists(st.floats(width=32) | st.none(), max_size=20))
def test_text_and_json_give_the_same_numbers(values: list[float | None]) -> None:
    """A value is the same as a JSON number and as a CSV field."""
    texts = ["" if value is None else repr(value) for value in values]
    numbers, invalid = to_numbers(values)
    from_text, invalid_text = to_numbers(texts)
    np.testing.assert_array_equal(numbers, from_text)
    assert invalid == invalid_text == sum(value is not None and np.isinf(value) for value in values)


def test_a_32_bit_number_and_its_text_share_a_cell() -> None:
    """0.1 as trained (32 bits) and 0.1 as sent are the same value."""
    edges = np.array([np.float32(0.1)], dtype=np.float32)
    assert number_cells(to_numbers(["0.1", "0.0999"])[0], edges).tolist() == [1, 0]


def test_what_is_no_number_is_invalid() -> None:
    """Text, booleans, objects and what no 32-bit float holds."""
    numbers, invalid = to_numbers([1, "2", None, True, "x", {}, 10**400, 1e39, "inf", " "])
    np.testing.assert_array_equal(numbers, np.array([1, 2, np.nan, np.nan], dtype=np.float32))
    assert invalid == 6


def test_categories_are_counted_with_other_null_and_invalid() -> None:
    """Unknown levels are other; empty text is null; what is no text is invalid."""
    counts, invalid = category_counts(["a", "b", "a", "", None, "new", 3, [1]], {"a": 0, "b": 1})
    assert (counts.tolist(), invalid) == ([2, 1, 1, 2], 2)
