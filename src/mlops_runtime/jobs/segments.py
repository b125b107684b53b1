"""Loss sums of the holdout by block, over all rows and where a column has a value."""

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.model import LossBlock, SegmentLosses
from mlops_runtime.jobs.loss import Mask, Wide
from mlops_runtime.jobs.optml import JobError

MAXIMUM_SEGMENTS = 24  # each is a test of its own, and a share of evaluation.json
MAXIMUM_VALUES = 1000  # a column with more is a number or a name, not a segment
MISSING = "null"


def block_losses(names: Sequence[str], actual: Wide, losses: Mapping[str, Wide]) -> tuple[LossBlock, ...]:
    """Return the sums of each block.

    Args:
        names: The block of each row.
        actual: The label of each row.
        losses: The losses of each row, by whose they are.
    """
    present, codes = np.unique(np.array(names, dtype=str), return_inverse=True)
    size = len(present)
    rows = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, weights=np.abs(actual), minlength=size)
    totals = {name: np.bincount(codes, weights=values, minlength=size) for name, values in losses.items()}
    return tuple(
        LossBlock(
            block=str(block),
            rows=int(rows[index]),
            actual_sum=float(sums[index]),
            absolute_error={name: float(total[index]) for name, total in totals.items()},
        )
        for index, block in enumerate(present)
    )


def segment_losses(
    holdout: Any, columns: Sequence[str], blocks: Sequence[str], actual: Wide, losses: Mapping[str, Wide]
) -> tuple[tuple[SegmentLosses, ...], tuple[str, ...]]:
    """Return the losses of the segments that are measured, and the names of those left out.

    At most `MAXIMUM_SEGMENTS` are measured: the largest by rows, one of each column in turn, so that a column with few values is
    whole beside one with many.

    Args:
        holdout: The holdout, an Arrow table.
        columns: Columns whose values are segments.
        blocks: The block of each row.
        actual: The label of each row.
        losses: The losses of each row, by whose they are.

    Raises:
        JobError: If a column has too many values.
    """
    ranked = [_ranked(holdout, column) for column in columns]
    in_turn = [found for found in chain.from_iterable(zip_longest(*ranked)) if found is not None]
    measured, left = in_turn[:MAXIMUM_SEGMENTS], in_turn[MAXIMUM_SEGMENTS:]
    names = np.array(blocks, dtype=str)
    segments = tuple(
        SegmentLosses(
            column=column,
            value=value,
            rows=int(chosen.sum()),
            blocks=block_losses(
                names[chosen].tolist(), actual[chosen], {n: values[chosen] for n, values in losses.items()}
            ),
        )
        for column, value, chosen in measured
    )
    return segments, tuple(f"{column}={value}" for column, value, _ in left)


def _ranked(holdout: Any, column: str) -> list[tuple[str, str, Mask]]:
    """Return the values of a column by falling number of rows, with the rows of each."""
    texts: npt.NDArray[Any] = np.array([_text(value) for value in holdout.column(column).to_pylist()], dtype=str)
    values, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
    if len(values) > MAXIMUM_VALUES:
        raise JobError(
            f"segment column {column!r} must have at most {MAXIMUM_VALUES} values, got {len(values)}; name a coarser column"
        )
    order = sorted(range(len(values)), key=lambda index: (-counts[index], values[index]))
    return [(column, str(values[index]), codes == index) for index in order]


def _text(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return str(value).lower()
    # a flag that went through a join with nulls is 1.0 where it was 1
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
