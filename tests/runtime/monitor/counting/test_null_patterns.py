"""Patterns of nulls against rows looked at one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.null_patterns import null_patterns


@given(st.integers(1, 150), st.integers(0, 30), st.integers(0, 1000), st.floats(0, 1))
def test_a_pattern_is_the_names_of_the_null_columns(columns: int, rows: int, seed: int, share: float) -> None:
    """However many columns there are; a column without a null may say so."""
    nulls = np.random.default_rng(seed).random((rows, columns)) < share * share
    masks = [(f"c{index}", nulls[:, index] if nulls[:, index].any() else None) for index in range(columns)]
    codes, names = null_patterns(masks, rows)
    expected = ["+".join(f"c{index}" for index in np.flatnonzero(row)) or "none" for row in nulls]
    assert [names[code] for code in codes] == expected
    assert len(set(names)) == len(names) == len(set(expected))


def test_masks_without_a_null_are_no_pattern() -> None:
    """A mask may be given although no row is null."""
    codes, names = null_patterns([("a", np.zeros(3, dtype=np.bool_))], 3)
    assert (codes.tolist(), names) == ([0, 0, 0], ["none"])
