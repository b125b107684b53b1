"""Expected metrics against labels: on the holdout, merged hours, quiet and shifted windows, and undetectable changes."""

import functools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.monitor.monitors.estimates.holdouts import Kind, estimator_of, learnt, window

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import Measured
from mlops_runtime.monitor.counting.counts import empty, merge
from mlops_runtime.monitor.monitors.estimates.expectation import expected_metrics, other_column
from mlops_runtime.monitor.monitors.label_measures import Target

learnt_once = functools.cache(learnt)
NAMES: dict[Kind, list[str]] = {
    "regression": ["wape", "mae", "rmse"],
    "classification": ["auc", "f1", "precision", "recall", "accuracy", "brier", "log_loss"],
    "classes": ["macro_recall", "accuracy"],
    "outputs": ["wape", "wape/weight", "wape/waist", "mae/weight", "mae/waist"],
}


def baseline_of(kind: Kind) -> Baseline:
    """Return the fitted baseline of a kind of model."""
    return learnt_once(kind, 5000, 1)


def expected(kind: Kind, rows: int, seed: int, **changes: float) -> tuple[dict[str, Measured], dict[str, float]]:
    """Return the expected metrics of a window, and those of its labels."""
    baseline, shown = baseline_of(kind), window(kind, rows, seed, **changes)
    found = expected_metrics(estimator_of(baseline), baseline, shown.counts(baseline))
    return {each.name: each for each in found}, Target.of(baseline).values(shown.rows)


@pytest.mark.parametrize("kind", NAMES)
def test_of_the_holdout_itself_it_is_what_was_measured(kind: Kind) -> None:
    """On the holdout itself the estimate equals the measured metric, up to the ridge penalty and empty cells."""
    found, measured = expected(kind, 5000, 1)
    assert list(found) == NAMES[kind]
    for name, metric in found.items():
        assert metric.value == pytest.approx(measured[name], rel=0.02)
        assert metric.baseline == pytest.approx(measured[name])


@given(
    kind=st.sampled_from(sorted(NAMES)),
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 600), min_size=23, max_size=23),
)
@settings(max_examples=10, deadline=None)
def test_counts_of_hours_give_the_same_as_one_pass(kind: Kind, seed: int, cuts: list[int]) -> None:
    """24 merged hours of any size give the estimate of one pass."""
    baseline, shown = baseline_of(kind), window(kind, 600, seed)
    parts = [shown.counts(baseline, slice(a, b)) for a, b in pairwise([0, *sorted(cuts), 600])]
    merged = merge(empty(baseline), parts)
    whole = shown.counts(baseline)
    assert merged.scores == whole.scores
    estimator = estimator_of(baseline)
    assert expected_metrics(estimator, baseline, merged) == expected_metrics(estimator, baseline, whole)


@pytest.mark.parametrize(
    ("kind", "changes", "names"),
    [
        ("classification", {}, ["auc", "f1", "accuracy", "brier"]),
        ("classification", {"shift": 0.7}, ["auc", "accuracy", "brier"]),
        ("regression", {}, ["wape", "mae", "rmse"]),
        ("regression", {"shift": 0.7}, ["wape", "mae"]),
        ("regression", {"noise": 0.7}, ["mae"]),
        ("classes", {}, ["macro_recall", "accuracy"]),
        ("outputs", {}, ["wape", "wape/weight", "wape/waist", "mae/waist"]),
        ("outputs", {"noise": 0.7}, ["wape", "wape/weight", "wape/waist", "mae/waist"]),
    ],
)
def test_intervals_cover_what_labels_show(kind: Kind, changes: dict[str, float], names: list[str]) -> None:
    """Holds for nine of ten windows of 1,000 rows over four holdouts of 5,000: unshifted, with other inputs, with more noise.

    The noise depends on movement within an outer tenth of its column, which the prediction ignores.
    """
    inside: dict[str, list[bool]] = {}
    for holdout in range(4):
        baseline = learnt_once(kind, 5000, 1000 + holdout)
        for seed in range(10):
            shown = window(kind, 1000, 10 * holdout + seed, **changes)
            measured = Target.of(baseline).values(shown.rows)
            for each in expected_metrics(estimator_of(baseline), baseline, shown.counts(baseline)):
                assert each.low is not None and each.high is not None
                inside.setdefault(each.name, []).append(each.low <= measured[each.name] <= each.high)
    assert {name: np.mean(inside[name]) >= 0.9 for name in names} == dict.fromkeys(names, True)


def test_other_inputs_are_expected_and_another_concept_is_not() -> None:
    """Shifted inputs move estimate and labels together; a change of labels alone is not detected."""
    quiet, _ = expected("classification", 5000, 7)
    moved, measured = expected("classification", 5000, 7, shift=0.7)
    assert moved["brier"].value == pytest.approx(measured["brier"], abs=0.01)
    found, measured = expected("classification", 5000, 7, concept=0.8)
    assert found["auc"].value == pytest.approx(quiet["auc"].value)
    assert measured["auc"] < (found["auc"].low or 0) - 0.02


def test_each_output_is_expected_by_its_own_score() -> None:
    """A noisier output moves its own estimate and the mean of both, and not the other output's."""
    quiet, _ = expected("outputs", 5000, 7)
    noisy, measured = expected("outputs", 5000, 7, noise=0.7)
    for name in ("wape", "wape/weight"):
        assert noisy[name].value == pytest.approx(measured[name], rel=0.05)
        assert (noisy[name].value or 0) > 1.1 * (quiet[name].value or 0)
    assert noisy["mae/waist"].value == pytest.approx(quiet["mae/waist"].value, rel=0.03)


def test_a_column_that_the_prediction_does_not_know_is_named() -> None:
    """Names a column that affects the noise of labels and not the prediction; none without a shift, and none for classes."""
    baseline = baseline_of("regression")
    noisy = window("regression", 5000, 3, noise=0.7).counts(baseline)
    assert other_column(estimator_of(baseline), baseline, noisy) == "d"
    found = {each.name: each for each in expected_metrics(estimator_of(baseline), baseline, noisy)}
    assert (found["mae"].value or 0) > 1.2 * baseline.quality["mae"]
    for kind in NAMES:
        of_kind = baseline_of(kind)
        quiet = window(kind, 5000, 4).counts(of_kind)
        assert other_column(estimator_of(of_kind), of_kind, quiet) is None


def test_more_rows_and_fewer_clusters_change_the_interval() -> None:
    """A larger window narrows the interval; few groups of clusters widen it by Student's t."""
    widths = []
    for rows in (500, 5000):
        found, _ = expected("regression", rows, 2)
        widths.append((found["mae"].high or 0) - (found["mae"].low or 0))
    assert widths[1] < 0.6 * widths[0]
    few = learnt("regression", 5000, 1, clusters=np.arange(5000) % 3)
    assert estimator_of(few).groups == 3
    shown = window("regression", 5000, 2).counts(few)
    mae = next(each for each in expected_metrics(estimator_of(few), few, shown) if each.name == "mae")
    assert (mae.high or 0) - (mae.low or 0) > widths[1]


def test_what_is_not_defined_is_left_out() -> None:
    """Omits F1, precision and recall without a predicted positive."""
    baseline = replace(baseline_of("classification"))
    shown = window("classification", 300, 1)
    low = replace(shown, rows=replace(shown.rows, prediction=np.full(300, 0.1)))
    found = [each.name for each in expected_metrics(estimator_of(baseline), baseline, low.counts(baseline))]
    assert "precision" not in found and "auc" in found
