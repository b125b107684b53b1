"""Recognise unique identifiers in training data: their values never come again, so comparing distributions says nothing."""

import numpy as np

from mlops_runtime.monitor.counting.cells import Coded, Column

DECLARED = "declared as an identifier"
# with fewer rows, a category of many levels looks like one
_MINIMUM_ROWS = 200
# share of distinct values above which text names rows
_DISTINCT = 0.95
# equal values that chance would give at least, were whole numbers drawn evenly from their range
_EXPECTED_REPEATS = 10


def text_identifier(values: Coded) -> str | None:
    """Return why a column of text is an identifier; None if it is not.

    Args:
        values: The training split's.

    Example:
        >>> text_identifier(Coded(np.arange(500), [f"order {i}" for i in range(500)]))
        '500 of 500 values are distinct'
    """
    known = int((values.codes >= 0).sum())
    distinct = len(values.levels)
    if known < _MINIMUM_ROWS or distinct < _DISTINCT * known:
        return None
    distinct = len(np.unique(values.codes[values.codes >= 0]))
    return f"{distinct} of {known} values are distinct" if distinct >= _DISTINCT * known else None


def number_identifier(values: Column, ordered: np.ndarray) -> str | None:
    """Return why a column of numbers is an identifier; None if it is not.

    It is one if all are whole, none comes twice, and that is no chance: amounts drawn evenly from as wide a range would
    have repeated themselves. Numbers above 2^24 are not whole any more as 32-bit floats; declare those.

    Args:
        values: The training split's, in its own type.
        ordered: The known ones as 32-bit floats, ascending.

    Example:
        >>> number_identifier(np.arange(500), np.arange(500, dtype=np.float32))
        '500 whole numbers of which none comes twice'
    """
    rows = len(ordered)
    if rows < _MINIMUM_ROWS:
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        exact = np.sort(values)
    elif ordered[-1] < 1 << 24 and ordered[0] > -(1 << 24):
        exact = ordered
    else:
        return None
    head = exact[:128]
    # almost every amount ends here: it repeats itself, or is a fraction
    if not (np.diff(head) > 0).all() or (exact.dtype.kind == "f" and not (head == np.trunc(head)).all()):
        return None
    if not (exact[1:] > exact[:-1]).all() or (exact.dtype.kind == "f" and not (exact == np.trunc(exact)).all()):
        return None
    if rows**2 / 2 < _EXPECTED_REPEATS * (float(exact[-1]) - float(exact[0]) + 1):
        return None
    return f"{rows} whole numbers of which none comes twice"
