"""Multiclass metrics checked against scikit-learn, with intervals from draws of whole calls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss, recall_score
from sklearn.utils.class_weight import compute_sample_weight

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.monitors import classes, classification
from mlops_runtime.monitor.monitors.classification import usable_rows
from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.rows import Rows


def rows_of(seed: int, size: int, count: int) -> Rows:
    """Return rows of random probabilities; each class is a label at least once."""
    random = np.random.default_rng(seed)
    label = np.concatenate([np.arange(size), random.integers(0, size, count)]).astype(float)
    return Rows.of(random.dirichlet(np.ones(size), len(label)), label)


def names(size: int) -> tuple[str, ...]:
    """Return class names."""
    return tuple(f"c{place}" for place in range(size))


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(3, 6), count=st.integers(3, 60))
@settings(max_examples=80, deadline=None)
def test_all_metrics_are_scikit_learns(seed: int, size: int, count: int) -> None:
    """Log loss, macro recall, accuracy and the confusion matrix agree."""
    rows = rows_of(seed, size, count)
    found = classes.values(rows, names(size))
    predicted, label = rows.prediction.argmax(axis=1), rows.label
    weights = compute_sample_weight("balanced", label)
    assert found["macro_log_loss"] == pytest.approx(log_loss(label, rows.prediction, sample_weight=weights))
    assert found["macro_recall"] == pytest.approx(balanced_accuracy_score(label, predicted))
    assert found["accuracy"] == pytest.approx(accuracy_score(label, predicted))
    recalls = recall_score(label, predicted, average=None, labels=range(size), zero_division=0)
    assert [found[f"recall/{name}"] for name in names(size)] == pytest.approx(recalls)
    expected = confusion_matrix(label, predicted, labels=range(size)).tolist()
    assert [list(line) for line in classes.confusion(rows, size)] == expected
    assert set(found) == set(classes.names_of(names(size)))


def test_the_calibration_of_a_class_is_that_of_a_classification() -> None:
    """Agrees with binary calibration of the class's probability."""
    rows = rows_of(1, 3, 400)
    found = classes.values(rows, names(3))
    for place in range(3):
        alone = Rows.of(rows.prediction[:, place], (rows.label == place).astype(float))
        assert found[f"ece/c{place}"] == pytest.approx(classification.values(alone)["ece"])


def test_a_window_without_a_class_has_no_macro_metric() -> None:
    """A mean over the other classes would not be comparable, so macro metrics are undefined."""
    rows = rows_of(2, 3, 50)
    found = classes.values(rows.where(rows.label != 2), names(3))
    assert np.isnan([found["macro_log_loss"], found["macro_recall"], found["recall/c2"]]).all()
    assert not np.isnan([found["accuracy"], found["recall/c0"], found["ece/c2"]]).any()


def test_draws_are_the_metrics_of_the_drawn_calls() -> None:
    """Drawing each call once gives the metric itself."""
    rows = rows_of(3, 3, 60)
    resampling = Resampling(rows.call, resamples=50)
    drawn = classes.draws(rows, names(3), resampling)
    for index, weights in enumerate(np.concatenate(list(resampling.row_weights()))):
        repeated = np.repeat(np.arange(len(rows)), weights.astype(int))
        chosen = Rows.of(rows.prediction[repeated], rows.label[repeated])
        for name, value in classes.values(chosen, names(3)).items():
            assert drawn[name][index] == pytest.approx(value, nan_ok=True)


def test_rows_that_are_no_probabilities_or_of_no_class_are_not_usable() -> None:
    """Probabilities that do not sum to 1 or are negative, and missing labels, are unusable."""
    prediction = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.3], [-0.1, 0.6, 0.5], [0.5, 0.3, 0.2]])
    rows = Rows.of(prediction, np.array([0.0, 1.0, 1.0, np.nan]))
    baseline = Baseline(features=(), rows=1, training_set_id="t", created="", target="classes", classes=("a", "b", "c"))
    assert classes.usable(rows).tolist() == [True, False, False, False]
    assert len(usable_rows(rows, baseline)) == 1
