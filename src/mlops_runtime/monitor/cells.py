"""Which cell of its baseline a value falls into: one rule for training data and live data.

Numbers are compared as 32-bit floats, as the model sees them: a training set holds 0.1 as a float, a caller sends it as text,
and both must land in the same cell.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]
CellCounts = npt.NDArray[np.int64]


def number_cells(values: Numbers, edges: Numbers) -> CellCounts:
    """Return each value's cell: bins left-closed, right-open, then the null cell for NaN.

    Example:
        >>> number_cells(np.array([0, 1, 5, np.nan], dtype=np.float32), np.array([1], dtype=np.float32)).tolist()
        [0, 1, 1, 2]
    """
    cells = np.searchsorted(edges, values, side="right").astype(np.int64)
    cells[np.isnan(values)] = len(edges) + 1
    return cells


def category_counts(values: Sequence[Any], levels: Mapping[str, int]) -> tuple[CellCounts, int]:
    """Return counts a level, then ``other``, then null; and how many values were neither text nor null.

    Example:
        >>> category_counts(["a", "z", None, 3], {"a": 0})
        (array([1, 1, 1]), 1)
    """
    counts = np.zeros(len(levels) + 2, dtype=np.int64)
    invalid = 0
    for value, count in Counter(_hashable(values)).items():
        if value is None or value == "":
            counts[-1] += count
        elif isinstance(value, str):
            counts[levels.get(value, len(levels))] += count
        else:
            invalid += count
    return counts, invalid


def to_numbers(values: Sequence[Any]) -> tuple[Numbers, int]:
    """Return the finite values and nulls (NaN) as 32-bit floats, and how many values were neither.

    Args:
        values: JSON values, or the text of CSV fields.

    Example:
        >>> to_numbers(["1.5", "", "x", "inf"])
        (array([1.5, nan], dtype=float32), 2)
    """
    kinds = set(map(type, values))
    numbers: npt.NDArray[np.float64] | None = None
    if kinds <= {float, int, type(None)} or kinds == {str}:
        try:
            numbers = np.array(values, dtype=np.float64)
        except (ValueError, OverflowError):  # an empty field, text, or an integer beyond a float
            numbers = None
    if numbers is None:
        numbers = np.array([_number(value) for value in values], dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    valid = ~np.isinf(narrow)
    return narrow[valid], int(len(values) - valid.sum())


def _number(value: Any) -> float:
    """Return the number, NaN for a null, infinity for what is neither."""
    if value is None:
        return np.nan
    if isinstance(value, str) and not value.strip():
        return np.nan
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return np.inf
    try:
        return float(value)
    except (ValueError, OverflowError):
        return np.inf


def _hashable(values: Sequence[Any]) -> list[Any]:
    if set(map(type, values)) <= {str, type(None)}:
        return list(values)
    return [value if value is None or isinstance(value, str) else False for value in values]
