"""Regression metrics, of one output and of several, checked against scikit-learn and rows repeated as drawn."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_runtime.monitor.monitors import regression
from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.rows import Rows

OUTPUTS = ("weight", "waist", "pulse")
PAIRS = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=40)


def known(value: float) -> float:
    """Return the expected value of a metric; NaN if it overflows a double, as with labels near 0."""
    return value if np.isfinite(value) else np.nan


@example([(0.0, 0.0), (4.0, 2.2250738585072014e-308)], 0.0)
@given(PAIRS, st.sampled_from([0.0, 1e6]))
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_metrics_are_those_of_scikit_learn(pairs: list[tuple[float, float]], offset: float) -> None:
    """Agrees for any numbers, also far from 0."""
    prediction, label = np.array(pairs).T + offset
    found = regression.values(Rows.of(prediction, label))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(label, prediction), abs=1e-9)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(label, prediction), abs=1e-9)
    total = np.abs(label).sum()
    if total > 0:
        assert found["wape"] == pytest.approx(known(np.abs(prediction - label).sum() / total), nan_ok=True)
        assert found["bias"] == pytest.approx(known((prediction - label).sum() / total), abs=1e-12, nan_ok=True)
    else:
        assert np.isnan(found["wape"])
    if np.ptp(label) > 1e-3:
        assert found["r2"] == pytest.approx(reference.r2_score(label, prediction), rel=1e-6)
    if np.ptp(label) == 0:
        assert np.isnan(found["r2"])


def test_each_draw_is_the_metric_of_its_rows() -> None:
    """Sums of calls equal repeated rows."""
    generator = np.random.default_rng(1)
    call = generator.integers(0, 12, 40)
    rows = Rows(
        call=call,
        prediction=generator.normal(10, 3, 40),
        label=generator.normal(10, 3, 40),
        low=np.where(generator.random(40) < 0.2, np.nan, 8.0),
        high=np.full(40, 13.0),
    )
    resampling = Resampling(call, resamples=15)
    drawn = regression.draws(rows, resampling)
    for index, weights in enumerate(np.concatenate(list(resampling.row_weights())).astype(int)):
        repeated = rows.where(np.repeat(np.arange(40), weights))  # type: ignore[arg-type] # places serve as a mask
        expected = regression.values(repeated)
        assert {name: drawn[name][index] for name in regression.NAMES} == pytest.approx(expected, rel=1e-9)


def test_coverage_is_of_rows_with_bounds() -> None:
    """Both bounds belong to the interval; rows without bounds are not counted; without any there is no coverage."""
    nan = np.nan
    label = np.array([1.0, 2.0, 3.0, 4.0])
    rows = Rows(
        call=np.arange(4),
        prediction=label,
        label=label,
        low=np.array([1.0, 0.0, 5.0, nan]),
        high=np.array([2.0, 2.0, 6.0, nan]),
    )
    assert regression.values(rows)["interval_coverage"] == pytest.approx(2 / 3)
    assert np.isnan(regression.values(Rows.of(label, label))["interval_coverage"])


def rows_of_outputs(seed: int, count: int = 40) -> Rows:
    """Return rows of three outputs in different units."""
    random = np.random.default_rng(seed)
    label = random.normal([80, 35, 60], [12, 3, 8], (count, 3))
    return Rows.of(label + random.normal(0, [9, 2, 5], (count, 3)), label)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 60))
@settings(max_examples=50, deadline=None)
def test_each_output_is_a_regression_of_its_own(seed: int, count: int) -> None:
    """The mean absolute error agrees with scikit-learn."""
    rows = rows_of_outputs(seed, count)
    found = regression.output_values(rows, OUTPUTS)
    alone = [regression.values(Rows.of(rows.prediction[:, i], rows.label[:, i])) for i in range(3)]
    for name, expected in zip(OUTPUTS, alone, strict=True):
        for metric in ("wape", "mae", "bias"):
            assert found[f"{metric}/{name}"] == pytest.approx(expected[metric])
    assert found["wape"] == pytest.approx(np.mean([each["wape"] for each in alone]))
    assert found["mae/waist"] == pytest.approx(reference.mean_absolute_error(rows.label[:, 1], rows.prediction[:, 1]))
    assert set(found) == set(regression.output_names(OUTPUTS))


def test_draws_are_the_metrics_of_the_drawn_calls() -> None:
    """The joint metric uses the same draws as each output."""
    rows = rows_of_outputs(4)
    drawn = regression.output_draws(rows, OUTPUTS, Resampling(rows.call, resamples=30))
    together = np.mean([drawn[f"wape/{name}"] for name in OUTPUTS], axis=0)
    assert drawn["wape"].tolist() == pytest.approx(together.tolist())
