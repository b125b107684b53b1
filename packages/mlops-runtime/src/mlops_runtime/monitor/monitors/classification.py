"""How well predicted probabilities tell labels 1 from labels 0, and how far they can be taken at their word.

See: J. Hanley, B. McNeil, The meaning and use of the area under a ROC curve, Radiology 143 (1982), ties counted half;
G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950);
C. Guo and others, On calibration of modern neural networks, ICML (2017) for the expected calibration error;
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html for the names of the others.
"""

from collections.abc import Mapping

import numpy as np

from mlops_runtime.monitor.monitors.intervals import Resampling, Weights
from mlops_runtime.monitor.monitors.rows import Codes, Mask, Rows, Wide

NAMES = ("auc", "average_precision", "f1", "precision", "recall", "accuracy", "ece", "brier", "log_loss")
THRESHOLD = 0.5
BINS = 10
_CLIP = 1e-15  # a certain and wrong prediction costs 34.5, not infinity


def usable(rows: Rows) -> Mask:
    """Return which rows can be judged: labels 0 or 1, probabilities from 0 to 1."""
    return np.isin(rows.label, (0.0, 1.0)) & (rows.prediction >= 0) & (rows.prediction <= 1)


def values(rows: Rows, *, threshold: float = THRESHOLD) -> dict[str, float]:
    """Return each metric of labelled rows, NaN where it is not defined.

    ``average_precision`` is the area under the curve of precision and recall, without interpolation; ``ece`` the expected
    calibration error over ten bins of equal width. Precision is not defined without a predicted positive, recall and AUC not
    without a label of either kind.

    Args:
        rows: Rows that are `usable`.
        threshold: A probability above it is a predicted positive. Default: 0.5.

    Example:
        >>> rows = Rows.of(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
        >>> values(rows)["auc"]
        0.75
    """
    columns = _columns(rows, threshold)
    found = _metrics(columns.sum(axis=0)[np.newaxis])
    area, precision = Ranking(rows).areas(np.ones((1, len(rows))))
    found |= {"auc": area, "average_precision": precision}
    return {name: float(found[name][0]) for name in NAMES}


def draws(rows: Rows, resampling: Resampling, *, threshold: float = THRESHOLD) -> Mapping[str, Wide]:
    """Return each metric of each draw of a resampling of the same rows."""
    found = _metrics(resampling.totals(_columns(rows, threshold)))
    ranking = Ranking(rows)
    areas = [ranking.areas(weights) for weights in resampling.row_weights()]
    found["auc"] = np.concatenate([area for area, _ in areas])
    found["average_precision"] = np.concatenate([precision for _, precision in areas])
    return found


class Ranking:
    """Rows from the highest probability to the lowest, those of one probability together."""

    def __init__(self, rows: Rows) -> None:
        self._order = np.argsort(-rows.prediction, kind="stable")
        ranked = rows.prediction[self._order]
        self._is_positive = rows.label[self._order] == 1
        is_first = np.ones(len(rows), dtype=np.bool_)
        is_first[1:] = ranked[1:] != ranked[:-1]
        self.starts: Codes = np.flatnonzero(is_first).astype(np.int64)

    def counts(self, weights: Wide | Weights) -> tuple[Wide, Wide]:
        """Return positives and negatives at each probability, draws by probabilities."""
        ordered: Wide = weights[:, self._order]  # type: ignore[assignment] # whole numbers, exact in 32 bits
        positives = ordered * self._is_positive
        if len(self.starts) < ordered.shape[1]:
            positives = np.add.reduceat(positives, self.starts, axis=1)
            ordered = np.add.reduceat(ordered, self.starts, axis=1)
        return positives, ordered - positives

    def areas(self, weights: Wide | Weights) -> tuple[Wide, Wide]:
        """Return AUC and average precision of each draw, NaN where one kind of label is missing (AUC) or no positive (precision)."""
        if not len(self.starts):
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        positives, negatives = self.counts(weights)
        above, below = np.cumsum(positives, axis=1), np.cumsum(negatives, axis=1)
        total, rest = above[:, -1].astype(np.float64), below[:, -1].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            # a negative is beaten by the positives above it, and by half of those beside it
            beaten = np.einsum("ij,ij->i", negatives, above - positives / 2, dtype=np.float64)
            area = np.where((total > 0) & (rest > 0), beaten / (total * rest), np.nan)
            precision = above / np.maximum(above + below, 1)
            average = np.einsum("ij,ij->i", positives, precision, dtype=np.float64) / total
        return area, np.where(total > 0, average, np.nan)


def _columns(rows: Rows, threshold: float) -> Wide:
    probability, label = rows.prediction, rows.label == 1
    predicted = probability > threshold
    right = np.where(label, probability, 1 - probability)
    fixed = (
        np.ones(len(rows)),
        label & predicted,
        ~label & predicted,
        label & ~predicted,
        (probability - label) ** 2,
        -np.log(np.clip(right, _CLIP, 1.0)),
    )
    bin_of = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    gaps = np.where(bin_of[:, np.newaxis] == np.arange(BINS), (probability - label)[:, np.newaxis], 0.0)
    return np.concatenate([np.stack(fixed, axis=1).astype(np.float64), gaps], axis=1)


def _metrics(sums: Wide) -> dict[str, Wide]:
    rows, hits, false_alarms, misses, squared, log_loss = sums[:, :6].T
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "f1": 2 * hits / (2 * hits + false_alarms + misses),
            "precision": hits / (hits + false_alarms),
            "recall": hits / (hits + misses),
            "accuracy": 1 - (false_alarms + misses) / rows,
            "ece": np.abs(sums[:, 6:]).sum(axis=1) / rows,
            "brier": squared / rows,
            "log_loss": log_loss / rows,
        }
