"""Fine cells of predictions for the estimate of performance: up to forty bins, with an edge at the decision threshold.

numpy only. Bins are fitted once to the labelled holdout and live predictions are counted into them, so that counts of any parts of
a window can be added. In a multiclass model each class's probability has two sets of bins: for rows predicted as another class, and
for rows predicted as this class. In a model with several outputs each output has its own bins.
"""

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import (
    Cells,
    Coded,
    Column,
    Numbers,
    edges_of,
    number_cells,
    to_numbers,
)
from mlops_runtime.monitor.counting.prediction_columns import numbers_of

BINS = 40
# minimum rows a bin: small holdouts have fewer bins
_ROWS_OF_A_BIN = 50


def scores_of(baseline: Baseline) -> tuple[FeatureBaseline, ...]:
    """Return the scores whose cells count predictions; empty without an estimator."""
    return () if baseline.estimator is None else baseline.estimator.scores


def score_edges(values: Numbers, threshold: float | None = None) -> tuple[float, ...]:
    """Return the inner edges of a score's bins: quantiles, both ends, and the threshold above which a prediction is positive.

    Args:
        values: Finite scores of the labelled rows.
        threshold: Decision threshold: a score above it is a predicted positive. Default: none.

    Example:
        >>> score_edges(np.arange(100, dtype=np.float32), threshold=50.0)[1:]
        (50.0, 50.000003814697266, 99.00000762939453)
    """
    bins = max(2, min(BINS, len(values) // _ROWS_OF_A_BIN))
    ordered = np.sort(values)
    inner = ordered[-(-len(ordered) * np.arange(1, bins) // bins)]
    # bins are left-closed: the bin of predicted positives starts at the next float above the threshold
    above = np.nextafter(
        np.array([ordered[-1], *([] if threshold is None else [threshold])], np.float32), np.float32(np.inf)
    )
    return tuple((np.unique(np.concatenate([ordered[:1], inner, above])).astype(np.float64) + 0.0).tolist())


def score_cells(predictions: Column, baseline: Baseline) -> list[Cells]:
    """Return each prediction's cell of each score; predictions that are not finite numbers are null.

    Args:
        predictions: One prediction a row; a list each for a model with classes or outputs.
        baseline: The baseline with the estimator.

    Example:
        >>> from mlops_runtime.contracts.monitor import Estimator
        >>> score = FeatureBaseline(name="score", type="number", edges=(0.5,), counts=(1, 1, 0))
        >>> estimator = Estimator(rows=2, groups=2, columns=(), labelled=((1, 1),), scores=(score,))
        >>> baseline = Baseline(features=(), rows=2, training_set_id="t", created="", estimator=estimator)
        >>> [cells.tolist() for cells in score_cells([0.2, "0.7", None], baseline)]
        [[0, 1, 2]]
    """
    scores = scores_of(baseline)
    if not scores:
        return []
    if baseline.classes is None and baseline.outputs is None:
        cells = number_cells(to_numbers(predictions), edges_of(scores[0]))
        return [np.minimum(cells, len(scores[0].counts) - 1)]
    listed = [None] * len(predictions) if isinstance(predictions, Coded) else predictions
    numbers = [numbers_of(value, len(scores)) for value in listed]
    given = np.array([value is not None for value in numbers], dtype=np.bool_)
    table = np.array([value for value in numbers if value is not None], dtype=np.float64).reshape(-1, len(scores))
    if baseline.outputs is not None:
        with np.errstate(over="ignore"):
            return output_cells(table.astype(np.float32), given, scores)
    # values far outside [0, 1] belong to an outer bin instead of becoming infinite
    return class_cells(np.clip(table, -1, 2).astype(np.float32), given, scores)


def output_cells(table: Numbers, given: np.ndarray, scores: tuple[FeatureBaseline, ...]) -> list[Cells]:
    """Return each row's cell of each output's score; a number beyond the range of 32-bit floats is null.

    Args:
        table: The outputs of the rows with a prediction, shape (rows, outputs).
        given: Which rows have a prediction, shape (rows,).
        scores: Scores of the outputs.
    """
    found = []
    for place, score in enumerate(scores):
        null = len(score.counts) - 1
        cells = np.full(len(given), null, dtype=np.int64)
        cells[given] = np.where(np.isfinite(table[:, place]), number_cells(table[:, place], edges_of(score)), null)
        found.append(cells)
    return found


def class_cells(table: Numbers, given: np.ndarray, scores: tuple[FeatureBaseline, ...]) -> list[Cells]:
    """Return each row's cell of each class's score.

    Args:
        table: The probabilities of the rows with a prediction, shape (rows, classes).
        given: Which rows have a prediction, shape (rows,).
        scores: Scores of the classes.
    """
    predicted = table.argmax(axis=1) if len(table) else np.empty(0, dtype=np.int64)
    found = []
    for place, score in enumerate(scores):
        edges = edges_of(score)
        cells = np.full(len(given), len(score.counts) - 1, dtype=np.int64)
        cells[given] = number_cells(table[:, place], edges) + (predicted == place) * (len(edges) + 1)
        found.append(cells)
    return found
