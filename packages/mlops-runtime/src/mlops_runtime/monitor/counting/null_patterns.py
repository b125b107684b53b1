"""Which columns are null together, as one more category: the pattern of a row is the names of its null columns."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NAME = "null_patterns"
NONE = "none"
# bits of a word that stay clear of the sign
_WORD = 62

Mask = npt.NDArray[np.bool_]


def null_patterns(masks: Sequence[tuple[str, Mask | None]], rows: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return each row's pattern as a code, and the name of each code: null columns joined by ``+``, or ``none``.

    Args:
        masks: For each column its name and which rows are null, shape (rows,); None if no row is.
        rows: How many there are.

    Example:
        >>> stock = np.array([False, True, True])
        >>> null_patterns([("price", None), ("stock", stock)], 3)
        (array([0, 1, 1]), ['none', 'stock'])
    """
    holed = [(name, mask) for name, mask in masks if mask is not None]
    codes = np.zeros(rows, dtype=np.int64)
    if not holed or rows == 0:
        return codes, [NONE] if rows else []
    # most rows have no null: only the others are looked at
    some = np.zeros(rows, dtype=np.bool_)
    for _, mask in holed:
        some |= mask
    where = np.flatnonzero(some)
    if len(where) == 0:
        return codes, [NONE]
    found = np.zeros(len(where), dtype=np.int64)
    for start in range(0, len(holed), _WORD):
        word = np.zeros(len(where), dtype=np.int64)
        for bit, (_, mask) in enumerate(holed[start : start + _WORD]):
            word |= mask[where].astype(np.int64) << bit
        distinct, inverse = np.unique(word, return_inverse=True)
        found = np.unique(found * len(distinct) + inverse, return_inverse=True)[1]
    examples = where[np.unique(found, return_index=True)[1]]
    names = ["+".join(name for name, mask in holed if mask[example]) for example in examples.tolist()]
    if len(where) == rows:
        return found, names
    codes[where] = found + 1
    return codes, [NONE, *names]
