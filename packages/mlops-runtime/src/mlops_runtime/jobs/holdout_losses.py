"""Losses of the holdout by row, and their sums by block, period and value of a column."""

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.model import WEIGHTED, LossBlock, Metric, PeriodLosses, SegmentLosses, SegmentSums
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.model_input import numbers
from mlops_runtime.retraining.loss_intervals import MINIMUM_BLOCKS, MINIMUM_PERIODS
from mlops_runtime.serving.served_model import Matrix

Wide = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLIP = 1e-15  # a certain but wrong prediction costs 34.5 instead of infinity

MAXIMUM_SEGMENTS = 24  # each is a separate test, and takes space in evaluation.json
MAXIMUM_VALUES = 1000  # a column with more values is a number or a name, not a segment
MISSING = "null"
POOLED = "(small)"  # joint value of all that are too rare


def is_classification(metric: Metric) -> bool:
    """Return whether labels are 0 and 1 and predictions their probabilities."""
    return metric in ("log_loss", "brier")


def check_labels(metric: Metric, label: str, actual: Wide) -> None:
    """Check that labels of the holdout suit the metric.

    Raises:
        JobError: If one is missing, a class is not 0 or 1, or the divisor of WAPE is 0.
    """
    broken = int((~np.isfinite(actual)).sum())
    if broken:
        raise JobError(
            f"label {label!r} must be known for every holdout row, {broken} of {len(actual)} are null or infinite"
        )
    if is_classification(metric) and (strange := np.setdiff1d(np.unique(actual), [0.0, 1.0])).size:
        shown = ", ".join(f"{value:g}" for value in strange[:5])
        raise JobError(f"label {label!r} must be 0 or 1 for {metric}, got {shown}")
    if metric == "wape" and not np.abs(actual).sum() > 0:
        raise JobError(f"label {label!r} is 0 in every holdout row: WAPE is not defined; use the metric mae")


def is_prediction(metric: Metric, predictions: Wide) -> Mask:
    """Return a mask of the rows with a prediction: a finite number, for a class a probability."""
    finite = np.isfinite(predictions)
    if is_classification(metric):
        return finite & (predictions >= 0) & (predictions <= 1)
    return finite


def row_losses(metric: Metric, predictions: Wide, actual: Wide) -> Wide:
    """Return the loss of each row, 0 for a row without a prediction, which is counted elsewhere as a failure.

    Example:
        >>> row_losses("brier", np.array([0.5, 1.0]), np.array([1.0, 1.0])).tolist()
        [0.25, 0.0]
    """
    given = is_prediction(metric, predictions)
    values = np.where(given, predictions, 0.5)
    if metric == "brier":
        losses = (values - actual) ** 2
    elif metric == "log_loss":
        losses = -np.log(np.clip(np.where(actual == 1, values, 1 - values), CLIP, 1.0))
    else:
        losses = np.abs(values - actual)
    return np.where(given, losses, 0.0)


def normaliser(metric: Metric, *, rows: int, actual_sum: float) -> float:
    """Return the divisor of a sum of losses: ``actual_sum`` for a metric of `WEIGHTED`, the number of rows for a mean."""
    return actual_sum if metric in WEIGHTED else float(rows)


def block_losses(names: Sequence[str], weights: Wide, losses: Mapping[str, Wide]) -> tuple[LossBlock, ...]:
    """Return the sums of each block; ``weights`` add up to its ``actual_sum``."""
    present, codes = np.unique(np.array(names, dtype=str), return_inverse=True)
    size = len(present)
    rows = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, weights=np.abs(weights), minlength=size)
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


def period_losses(
    periods: Sequence[str], names: Sequence[str], losses: Mapping[str, Wide], blocks: Sequence[LossBlock]
) -> tuple[PeriodLosses, ...]:
    """Return the sums of each period by block, in the order of the blocks."""
    place = {block.block: index for index, block in enumerate(blocks)}
    columns = np.array([place[name] for name in names], dtype=np.int64)
    present, codes = np.unique(np.array(periods, dtype=str), return_inverse=True)
    shape = (len(present), len(blocks))
    sums = {
        name: np.bincount(codes * shape[1] + columns, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
        for name, values in losses.items()
    }
    return tuple(
        PeriodLosses(
            period=str(period), absolute_error={name: tuple(total[index].tolist()) for name, total in sums.items()}
        )
        for index, period in enumerate(present)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """All rows of a holdout, with their groups and losses."""

    blocks: Sequence[str]  # block of each row
    weights: Wide  # contribution of each row to `actual_sum`
    losses: Mapping[str, Wide]  # losses of each row, by model or baseline
    periods: Sequence[str] | None = None  # period of each row. Default: losses are not split by period
    by_period: Sequence[str] | None = None  # models whose losses are split by period in segments. Default: all
    # the labels as non-negative numbers, a column for each number of a prediction. Default: they may be negative
    actual: Wide | None = None
    # the models' predictions, in the same columns. Default: their sums are meaningless
    predicted: Mapping[str, Wide] | None = None

    def where(self, column: str, value: str, chosen: Mask) -> SegmentLosses:
        """Return the losses of some rows."""
        names = np.array(self.blocks, dtype=str)[chosen].tolist()
        losses = {name: values[chosen] for name, values in self.losses.items()}
        blocks = block_losses(names, self.weights[chosen], losses)
        periods = None
        if self.periods is not None:
            kept = {name: losses[name] for name in self.by_period or losses}
            periods = period_losses(np.array(self.periods, dtype=str)[chosen].tolist(), names, kept, blocks)
        return SegmentLosses(column=column, value=value, rows=int(chosen.sum()), blocks=blocks, periods=periods)

    def are_few(self, chosen: Mask) -> bool:
        """Return whether some rows have too few blocks or periods for an interval."""
        if len(np.unique(np.array(self.blocks, dtype=str)[chosen])) < MINIMUM_BLOCKS:
            return True
        return self.periods is not None and len(np.unique(np.array(self.periods, dtype=str)[chosen])) < MINIMUM_PERIODS

    def sums(self, column: str, value: str, chosen: Mask) -> SegmentSums:
        """Return the sums of some rows."""
        names = self.by_period or tuple(self.losses)
        return SegmentSums(
            column=column,
            value=value,
            rows=int(chosen.sum()),
            actual_sum=float(np.abs(self.weights[chosen]).sum()),
            absolute_error={name: float(self.losses[name][chosen].sum()) for name in names},
            actual=None if self.actual is None else _column_sums(self.actual, chosen),
            predicted=None
            if self.predicted is None
            else {name: _column_sums(values, chosen) for name, values in self.predicted.items()},
        )


def _column_sums(values: Wide, chosen: Mask) -> tuple[float, ...]:
    return tuple(values[chosen].sum(axis=0).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """The segments of a holdout."""

    measured: tuple[SegmentLosses, ...]  # segments with their own losses by block
    left_out: tuple[str, ...]  # names of the other segments
    pooled: tuple[SegmentLosses, ...]  # for each column with small values, one segment of all of them
    sums: tuple[SegmentSums, ...]  # sums of every value


def segment_losses(
    holdout: Any, columns: Sequence[str], rows: Rows, *, bands: Mapping[str, Sequence[float]] | None = None
) -> Segments:
    """Return the losses of the segments: values of columns, and bands of numeric columns between their cut points.

    At most `MAXIMUM_SEGMENTS` are measured: the largest by rows, taken from each column in turn, so that a column with few values
    is complete beside one with many.

    Raises:
        JobError: If a column has too many values, or a column with bands is not numeric.
    """
    cut = {column: _banded(numbers(holdout, column), limits) for column, limits in (bands or {}).items()}
    ranked = [_ranked(column, map(_text, holdout.column(column).to_pylist())) for column in columns]
    ranked += [_ranked(column, values) for column, values in cut.items()]
    in_turn = [found for found in chain.from_iterable(zip_longest(*ranked)) if found is not None]
    measured, left = in_turn[:MAXIMUM_SEGMENTS], in_turn[MAXIMUM_SEGMENTS:]
    small = [found for found in measured if rows.are_few(found[2])] + left
    pools: dict[str, Mask] = {}
    for column, _, chosen in small:
        pools[column] = pools[column] | chosen if column in pools else chosen
    return Segments(
        measured=tuple(rows.where(column, value, chosen) for column, value, chosen in measured),
        left_out=tuple(f"{column}={value}" for column, value, _ in left),
        pooled=tuple(rows.where(column, POOLED, chosen) for column, chosen in pools.items()),
        sums=tuple(rows.sums(column, value, chosen) for column, value, chosen in in_turn),
    )


def _ranked(column: str, values_of: Iterable[str]) -> list[tuple[str, str, Mask]]:
    """Return the values of a column in descending number of rows, with the mask of each."""
    texts: npt.NDArray[Any] = np.array(list(values_of), dtype=str)
    values, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
    if len(values) > MAXIMUM_VALUES:
        raise JobError(
            f"segment column {column!r} must have at most {MAXIMUM_VALUES} values, got {len(values)}; use a coarser column"
        )
    order = sorted(range(len(values)), key=lambda index: (-counts[index], values[index]))
    return [(column, str(values[index]), codes == index) for index in order]


def _banded(values: Matrix, limits: Sequence[float]) -> list[str]:
    """Return the band of each number; a number equal to a limit is in the band above it."""
    names = [
        f"below {limits[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(limits)),
        f"{limits[-1]:g} or more",
    ]
    return [MISSING if math.isnan(value) else names[bisect.bisect_right(limits, value)] for value in values.tolist()]


def _text(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return str(value).lower()
    # a flag that was joined with nulls is 1.0 instead of 1
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
