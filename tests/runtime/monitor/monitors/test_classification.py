"""Classification metrics checked against scikit-learn with ties, and against rows repeated as drawn."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.monitors import classification
from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.rows import Rows, Wide

# few distinct values, for ties
PROBABILITY = st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 0.51, 0.75, 0.9, 0.999, 1.0]) | st.floats(0, 1)
PAIRS = st.lists(st.tuples(PROBABILITY, st.booleans()), min_size=1, max_size=50)


def pairs_of(pairs: list[tuple[float, bool]]) -> tuple[Wide, Wide]:
    """Return probabilities and labels."""
    return np.array([p for p, _ in pairs]), np.array([float(y) for _, y in pairs])


@given(PAIRS, st.sampled_from([0.5, 0.1, 0.9]))
def test_metrics_are_those_of_scikit_learn(pairs: list[tuple[float, bool]], threshold: float) -> None:
    """Agrees where both are defined; where scikit-learn warns and returns 0, ours are undefined."""
    probability, label = pairs_of(pairs)
    predicted = probability > threshold
    found = classification.values(Rows.of(probability, label), threshold=threshold)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(label, predicted))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(label, probability))
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    assert found["log_loss"] == pytest.approx(reference.log_loss(label, clipped, labels=[0, 1]), rel=1e-4, abs=1e-9)
    if predicted.any():
        assert found["precision"] == pytest.approx(reference.precision_score(label, predicted))
    else:
        assert np.isnan(found["precision"])
    if label.any():
        assert found["recall"] == pytest.approx(reference.recall_score(label, predicted))
        assert found["f1"] == pytest.approx(reference.f1_score(label, predicted))
        assert found["average_precision"] == pytest.approx(reference.average_precision_score(label, probability))
    else:
        assert np.isnan(found["recall"])
        assert np.isnan(found["average_precision"])
    if 0 < label.sum() < len(label):
        assert found["auc"] == pytest.approx(reference.roc_auc_score(label, probability))
    else:
        assert np.isnan(found["auc"])


@given(PAIRS)
def test_the_area_is_the_share_of_pairs_in_order(pairs: list[tuple[float, bool]]) -> None:
    """A positive above a negative counts one, a tie one half."""
    positives, negatives = ([p for p, y in pairs if y is kind] for kind in (True, False))
    order = [(a > b) + 0.5 * (a == b) for a in positives for b in negatives]
    area = classification.values(Rows.of(*pairs_of(pairs)))["auc"]
    assert np.isnan(area) if not order else area == pytest.approx(sum(order) / len(order))


def test_calibration_is_the_gap_between_what_was_said_and_what_came() -> None:
    """Agrees with the calculation by hand for two of ten bins."""
    rows = Rows.of(np.array([0.12, 0.18, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert classification.values(rows)["ece"] == pytest.approx((abs(0.30 - 1) + abs(1.95 - 2)) / 4)


@pytest.mark.parametrize("has_ties", [False, True])
def test_each_draw_is_the_metric_of_its_rows(has_ties: bool) -> None:
    """Weights of a sorted column equal repeated rows."""
    generator = np.random.default_rng(1)
    call = generator.integers(0, 30, 60)
    probability = generator.random(60)
    rows = Rows.of(
        probability.round(1) if has_ties else probability, (generator.random(60) < 0.4).astype(float), call=call
    )
    resampling = Resampling(call, resamples=15)
    drawn = classification.draws(rows, resampling)
    for index, weights in enumerate(np.concatenate(list(resampling.row_weights())).astype(int)):
        repeated = rows.where(np.repeat(np.arange(60), weights))  # type: ignore[arg-type] # places serve as a mask
        expected = classification.values(repeated)
        assert {name: drawn[name][index] for name in classification.NAMES} == pytest.approx(expected, rel=1e-6)


def test_rows_that_cannot_be_judged_are_told() -> None:
    """Reports labels of another class, probabilities above 1 and NaN."""
    rows = Rows.of(np.array([0.5, 0.5, 1.2, np.nan, 0.0]), np.array([1.0, 2.0, 1.0, 0.0, 0.0]))
    assert classification.usable(rows).tolist() == [True, False, False, False, True]
