"""Segments of labelled rows: where a column has a value."""

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

import numpy as np

from mlops_runtime.monitor.quality.rows import NULL, Rows

MAXIMUM_SEGMENTS = 24
MISSING = "null"


def segments_of(rows: Rows, columns: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    """Yield each segment's name, ``column=value``, and its rows.

    At most `MAXIMUM_SEGMENTS`: the largest by rows, one of each column in turn, so that a column with few values is whole beside
    one with many.

    Args:
        rows: Rows with columns.
        columns: Columns whose values are segments; one that the rows do not have is left out.

    Example:
        >>> from mlops_runtime.monitor.quality.rows import Texts
        >>> one = np.ones(3)
        >>> rows = Rows.of(one, one, columns={"store": Texts.of(["north", "west", "north"])})
        >>> [(name, len(part)) for name, part in segments_of(rows, ["store"])]
        [('store=north', 2), ('store=west', 1)]
    """
    ranked = [_ranked(rows, column) for column in columns if column in rows.columns]
    in_turn = [found for found in chain.from_iterable(zip_longest(*ranked)) if found is not None]
    for column, code, name in in_turn[:MAXIMUM_SEGMENTS]:
        yield f"{column}={name}", rows.where(rows.columns[column].codes == code)


def _ranked(rows: Rows, column: str) -> list[tuple[str, int, str]]:
    texts = rows.columns[column]
    codes, counts = np.unique(texts.codes, return_counts=True)
    names = [MISSING if code == NULL else texts.values[code] for code in codes]
    order = sorted(range(len(codes)), key=lambda index: (-counts[index], names[index]))
    return [(column, int(codes[index]), names[index]) for index in order]
