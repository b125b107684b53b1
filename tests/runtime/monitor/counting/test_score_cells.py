"""Fine prediction cells: the same rule for the holdout and live calls, for numbers, probabilities and classes."""

from typing import Any

import numpy as np
import pytest
from tests.runtime.monitor.monitors.estimates.holdouts import CLASSES, Kind, estimator_of, learnt, window

from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.counting.score_cells import BINS, score_cells, score_edges


@pytest.mark.parametrize(("rows", "bins"), [(10_000, BINS), (1000, 20), (90, 2)])
def test_bins_are_quantiles_with_both_ends(rows: int, bins: int) -> None:
    """Forty quantile bins, fewer for small holdouts, and an empty bin at either end."""
    values = np.random.default_rng(1).normal(0, 1, rows).astype(np.float32)
    edges = np.array(score_edges(values), dtype=np.float32)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    assert (counts[0], counts[-1], len(counts)) == (0, 0, bins + 2)
    assert counts[1:-1] == pytest.approx(rows / bins, rel=0.1)


def test_equal_scores_are_one_bin() -> None:
    """A constant model has one bin; a threshold beyond all scores is still an edge."""
    assert len(score_edges(np.full(500, 0.25, np.float32))) == 2
    assert len(score_edges(np.full(500, 0.25, np.float32), threshold=0.5)) == 3


def test_predictions_that_are_not_numbers_are_null() -> None:
    """Missing values, text, lists of another width and codes without probabilities are null, as in live calls."""
    number, classes = learnt("regression", 500, 1), learnt("classes", 500, 1)
    [cells] = score_cells([10.0, None, "x", "10", float("inf")], number)
    null = len(estimator_of(number).scores[0].counts) - 1
    assert (cells == null).tolist() == [False, True, True, False, True]
    found = score_cells([[0.5, 0.3, 0.2], [0.5, 0.5], None, [1, None, 0], [1e300, 0, 0]], classes)
    nulls = [len(score.counts) - 1 for score in estimator_of(classes).scores]
    assert [(cells == null).tolist() for cells, null in zip(found, nulls, strict=True)] == [
        [False, True, True, True, False]
    ] * 3
    assert [cells.tolist() for cells in score_cells(Coded(np.array([0]), CLASSES), classes)] == [
        [null] for null in nulls
    ]

    outputs = learnt("outputs", 500, 1)
    found = score_cells([[10.0, 5], ["10", "5"], [1e39, 5], [10.0], None, [10, "x"]], outputs)
    for cells, score, one in zip(found, estimator_of(outputs).scores, (10.0, 5.0), strict=True):
        null = len(score.counts) - 1
        inside = int(np.searchsorted(score.edges, one, side="right"))
        assert cells.tolist() == [inside, inside, null if one == 10.0 else inside, null, null, null]


@pytest.mark.parametrize("kind", ["classes", "outputs"])
def test_lines_and_columns_are_counted_alike(lines: Any, kind: Kind) -> None:
    """A capture line of several rows and the same rows as columns count alike."""
    baseline, shown = learnt(kind, 500, 1), window(kind, 50, 2)
    data = "\n".join(",".join(map(str, row)) for row in zip(*(v.tolist() for v in shown.columns.values()), strict=True))
    output = "\n".join(",".join(map(str, row)) for row in shown.rows.prediction.tolist())
    assert count([lines.call(data, output)], baseline).scores == shown.counts(baseline).scores
    counts = shown.counts(baseline).scores
    assert counts is not None and [sum(each) for each in counts] == [50] * len(counts)
    if kind == "outputs":
        return
    predicted = [sum(each[len(each) // 2 : -1]) for each in counts]
    assert sum(predicted) == 50
