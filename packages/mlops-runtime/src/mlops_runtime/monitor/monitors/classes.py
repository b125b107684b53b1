"""Multiclass quality: the sums over rows from which `quality_metrics` computes the metrics of three or more classes.

Labels are indexes of classes. The metrics of a class are ``recall/<class>``, the share of its rows that are predicted as the class,
and ``ece/<class>``, the expected calibration error of its probability, one against all others.

See: M. Kull and others, Beyond temperature scaling, NeurIPS (2019), for calibration by class.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.quality_metrics import CLASSES, METRICS, OF_EACH_CLASS
from mlops_runtime.monitor.monitors.rows import Mask, Rows, Wide

BINS = 10
_CLIP = 1e-15  # the log loss of a certain but wrong prediction is 34.5 instead of infinity
_SUM = 1e-3  # tolerates rounding of 32-bit numbers, but not scores other than probabilities


def names_of(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the metrics of a multiclass model."""
    whole = (*(metric.name for metric in CLASSES), "accuracy")
    return (*whole, *(f"{metric}/{name}" for metric in OF_EACH_CLASS for name in classes))


def usable(rows: Rows) -> Mask:
    """Return which rows can be evaluated: those with a known class, and probabilities that add up to 1."""
    in_range = ((rows.prediction >= 0) & (rows.prediction <= 1)).all(axis=1)
    adds_up = np.abs(rows.prediction.sum(axis=1) - 1) <= _SUM
    return np.asarray(in_range & adds_up & np.isfinite(rows.label))


def one_class(rows: Rows, place: int) -> Rows:
    """Return rows as those of a binary classification: whether label and predicted class are a given class.

    Example:
        >>> rows = Rows.of(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1.0, np.nan]))
        >>> one_class(rows, 1).prediction.tolist(), one_class(rows, 1).label.tolist()
        ([1.0, 0.0], [1.0, nan])
    """
    label = np.where(np.isnan(rows.label), np.nan, rows.label == place)
    return replace(rows, prediction=(rows.prediction.argmax(axis=1) == place).astype(np.float64), label=label)


def confusion(rows: Rows, size: int) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix: classes of the label as rows, predicted classes as columns."""
    cells = rows.label.astype(np.int64) * size + rows.prediction.argmax(axis=1)
    return tuple(map(tuple, np.bincount(cells, minlength=size * size).reshape(size, size).tolist()))


def values(rows: Rows, classes: Sequence[str]) -> dict[str, float]:
    """Return each metric of labelled rows; NaN if undefined, as macro metrics are if a class has no rows.

    Example:
        >>> certain = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
        >>> found = values(Rows.of(certain, np.array([0.0, 1.0, 2.0])), ("a", "b", "c"))
        >>> found["recall/b"], found["recall/c"], round(found["accuracy"], 2)
        (1.0, 0.0, 0.67)
    """
    totals = {name: columns.sum(axis=0)[np.newaxis] for name, columns in _columns(rows, len(classes))}
    return {name: float(value[0]) for name, value in _metrics(totals, classes).items()}


def draws(rows: Rows, classes: Sequence[str], resampling: Resampling) -> Mapping[str, Wide]:
    """Return each metric of each draw of a resampling of the same rows."""
    totals = {name: resampling.totals(columns) for name, columns in _columns(rows, len(classes))}
    return _metrics(totals, classes)


def _columns(rows: Rows, size: int) -> Iterator[tuple[str, Wide]]:
    """Yield each row's contribution to the sums of the classes, then to the calibration bins, by class to save memory."""
    of_class = rows.label[:, np.newaxis] == np.arange(size)
    of_label = np.take_along_axis(rows.prediction, rows.label.astype(np.int64)[:, np.newaxis], axis=1)
    predicted = rows.prediction.argmax(axis=1)
    yield "rows", of_class.astype(np.float64)
    yield "losses", np.where(of_class, -np.log(np.clip(of_label, _CLIP, 1.0)), 0.0)
    yield "hits", (of_class & (predicted[:, np.newaxis] == np.arange(size))).astype(np.float64)
    for place in range(size):
        probability = rows.prediction[:, place]
        bin_of = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
        gap = probability - of_class[:, place]
        yield f"gaps {place}", np.where(bin_of[:, np.newaxis] == np.arange(BINS), gap[:, np.newaxis], 0.0)


def _metrics(totals: Mapping[str, Wide], classes: Sequence[str]) -> dict[str, Wide]:
    sums = SimpleNamespace(**{name: totals[name] for name in ("rows", "losses", "hits")})
    every = sums.rows.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {metric.name: metric.value(sums) for metric in CLASSES}
        hits = sums.hits.sum(axis=1)
        found["accuracy"] = METRICS["accuracy"].value(SimpleNamespace(rows=every, false_alarms=0, misses=every - hits))
        for place, name in enumerate(classes):
            hit, rows = sums.hits[:, place], sums.rows[:, place]
            found[f"recall/{name}"] = METRICS["recall"].value(SimpleNamespace(hits=hit, misses=rows - hit))
        for place, name in enumerate(classes):
            gap = np.abs(totals[f"gaps {place}"]).sum(axis=1)
            found[f"ece/{name}"] = METRICS["ece"].value(SimpleNamespace(gap=gap, rows=every))
    return found
