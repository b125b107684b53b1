"""Metrics of several outputs: each as a regression, and the mean of their WAPEs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error

from mlops_runtime.monitor.monitors import outputs, regression
from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.rows import Rows

NAMES = ("weight", "waist", "pulse")


def rows_of(seed: int, count: int = 40) -> Rows:
    """Return rows of three outputs in different units."""
    random = np.random.default_rng(seed)
    label = random.normal([80, 35, 60], [12, 3, 8], (count, 3))
    return Rows.of(label + random.normal(0, [9, 2, 5], (count, 3)), label)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 60))
@settings(max_examples=50, deadline=None)
def test_each_output_is_a_regression_of_its_own(seed: int, count: int) -> None:
    """The mean absolute error agrees with scikit-learn."""
    rows = rows_of(seed, count)
    found = outputs.values(rows, NAMES)
    alone = [regression.values(Rows.of(rows.prediction[:, i], rows.label[:, i])) for i in range(3)]
    for name, expected in zip(NAMES, alone, strict=True):
        for metric in ("wape", "mae", "bias"):
            assert found[f"{metric}/{name}"] == pytest.approx(expected[metric])
    assert found["wape"] == pytest.approx(np.mean([each["wape"] for each in alone]))
    assert found["mae/waist"] == pytest.approx(mean_absolute_error(rows.label[:, 1], rows.prediction[:, 1]))
    assert set(found) == set(outputs.names_of(NAMES))


def test_draws_are_the_metrics_of_the_drawn_calls() -> None:
    """The joint metric uses the same draws as each output."""
    rows = rows_of(4)
    drawn = outputs.draws(rows, NAMES, Resampling(rows.call, resamples=30))
    together = np.mean([drawn[f"wape/{name}"] for name in NAMES], axis=0)
    assert drawn["wape"].tolist() == pytest.approx(together.tolist())
