"""Binary classification quality: the sums over rows from which `quality_metrics` computes the metrics."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.monitors import classes
from mlops_runtime.monitor.monitors.intervals import Resampling, Weights
from mlops_runtime.monitor.monitors.quality_metrics import CLASSIFICATION
from mlops_runtime.monitor.monitors.rows import Codes, Mask, Rows, Wide

NAMES = tuple(metric.name for metric in CLASSIFICATION)
THRESHOLD = 0.5
BINS = 10
_CLIP = 1e-15  # the log loss of a certain but wrong prediction is 34.5 instead of infinity


def usable(rows: Rows) -> Mask:
    """Return which rows can be evaluated: labels 0 or 1, probabilities from 0 to 1."""
    return np.isin(rows.label, (0.0, 1.0)) & (rows.prediction >= 0) & (rows.prediction <= 1)


def usable_rows(rows: Rows, baseline: Baseline | None) -> Rows:
    """Return the labelled rows that can be evaluated: all of a regression, else the `usable` ones."""
    if baseline is None:
        return rows
    if baseline.classes is not None:
        return rows.where(classes.usable(rows))
    return rows.where(usable(rows)) if baseline.target == "classification" else rows


def values(rows: Rows, *, threshold: float = THRESHOLD) -> dict[str, float]:
    """Return each metric of labelled rows; NaN if undefined.

    ``average_precision`` is the area under the precision-recall curve, without interpolation; ``ece`` is the expected calibration
    error over ten bins of equal width. Precision is undefined without predicted positives, recall without positive labels, AUC
    without labels of both kinds.

    Args:
        rows: Rows that are `usable`.
        threshold: Decision threshold: a probability above it is a predicted positive. Default: 0.5.

    Example:
        >>> rows = Rows.of(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
        >>> values(rows)["auc"]
        0.75
    """
    names, columns = _columns(rows, threshold)
    areas = Ranking(rows).areas(np.ones((1, len(rows))))
    return {name: float(value[0]) for name, value in _metrics(names, columns.sum(axis=0)[np.newaxis], *areas).items()}


def draws(rows: Rows, resampling: Resampling, *, threshold: float = THRESHOLD) -> Mapping[str, Wide]:
    """Return each metric of each bootstrap draw of the rows."""
    names, columns = _columns(rows, threshold)
    ranking = Ranking(rows)
    areas = [ranking.areas(weights) for weights in resampling.row_weights()]
    area, average_precision = (np.concatenate(each) for each in zip(*areas, strict=True))
    return _metrics(names, resampling.totals(columns), area, average_precision)


class Ranking:
    """Rows in descending order of probability, grouped by equal probabilities."""

    def __init__(self, rows: Rows) -> None:
        self._order = np.argsort(-rows.prediction, kind="stable")
        ranked = rows.prediction[self._order]
        self._is_positive = rows.label[self._order] == 1
        is_first = np.ones(len(rows), dtype=np.bool_)
        is_first[1:] = ranked[1:] != ranked[:-1]
        self.starts: Codes = np.flatnonzero(is_first).astype(np.int64)

    def counts(self, weights: Wide | Weights) -> tuple[Wide, Wide]:
        """Return positives and negatives at each probability, each of shape (draws, probabilities)."""
        ordered: Wide = weights[:, self._order]  # type: ignore[assignment] # whole numbers, exact in 32 bits
        positives = ordered * self._is_positive
        if len(self.starts) < ordered.shape[1]:
            positives = np.add.reduceat(positives, self.starts, axis=1)
            ordered = np.add.reduceat(ordered, self.starts, axis=1)
        return positives, ordered - positives

    def areas(self, weights: Wide | Weights) -> tuple[Wide, Wide]:
        """Return AUC and average precision of each draw; NaN without labels of both kinds, or without positives."""
        if not len(self.starts):
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        positives, negatives = self.counts(weights)
        above, below = np.cumsum(positives, axis=1), np.cumsum(negatives, axis=1)
        total, rest = above[:, -1].astype(np.float64), below[:, -1].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            # positives with a higher probability than a negative count 1, ties count half
            beaten = np.einsum("ij,ij->i", negatives, above - positives / 2, dtype=np.float64)
            area = np.where((total > 0) & (rest > 0), beaten / (total * rest), np.nan)
            precision = above / np.maximum(above + below, 1)
            average = np.einsum("ij,ij->i", positives, precision, dtype=np.float64) / total
        return area, np.where(total > 0, average, np.nan)


def _columns(rows: Rows, threshold: float) -> tuple[list[str], Wide]:
    """Return the names of the sums, and the contributions of each row to them and, in the last columns, to the calibration bins."""
    probability, label = rows.prediction, rows.label == 1
    predicted = probability > threshold
    right = np.where(label, probability, 1 - probability)
    fixed = {
        "rows": np.ones(len(rows)),
        "hits": label & predicted,
        "false_alarms": ~label & predicted,
        "misses": label & ~predicted,
        "squared": (probability - label) ** 2,
        "log_loss": -np.log(np.clip(right, _CLIP, 1.0)),
        **{name: of_rows(rows) for metric in CLASSIFICATION for name, of_rows in metric.sums.items()},
    }
    bin_of = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    gaps = np.where(bin_of[:, np.newaxis] == np.arange(BINS), (probability - label)[:, np.newaxis], 0.0)
    return list(fixed), np.concatenate([np.stack(list(fixed.values()), axis=1).astype(np.float64), gaps], axis=1)


def _metrics(names: list[str], totals: Wide, area: Wide, average_precision: Wide) -> dict[str, Wide]:
    sums = SimpleNamespace(**dict(zip(names, totals[:, : len(names)].T, strict=True)))
    sums.gap = np.abs(totals[:, len(names) :]).sum(axis=1)
    sums.area, sums.average_precision = area, average_precision
    with np.errstate(divide="ignore", invalid="ignore"):
        return {metric.name: metric.value(sums) for metric in CLASSIFICATION}
