"""Bias by facet: groups, intervals, violations, and both output formats."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.monitor import Baseline, Facet
from mlops_runtime.contracts.monitor_report import BiasMetric, Measured
from mlops_runtime.monitor.monitors import bias_metrics as confusion
from mlops_runtime.monitor.monitors import facet_bias as bias
from mlops_runtime.monitor.monitors.rows import Rows, Texts
from mlops_runtime.monitor.spec import MonitorSpec

BASELINE = Baseline(features=(), rows=1, training_set_id="t", created="2017-08-01T00:00:00Z")
AGE = (Facet(name="age", threshold=40.0),)


def people(count: int, seed: int, *, accepted_old: float = 0.5, call: int = 1) -> Rows:
    """Return rows of people, half above 40; half of them are accepted, or the given share of those above 40."""
    random = np.random.default_rng(seed)
    age = random.choice(["30", "50"], count)
    region = random.choice(["east", "west"], count)
    label = (random.random(count) < 0.5).astype(float)
    is_reported = random.random(count) < 0.8
    chance = np.where(age == "50", accepted_old, 0.5)
    prediction = np.where(is_reported, label, 1 - label)
    prediction = np.where((age == "50") & (random.random(count) < 2 * (0.5 - chance)), 0.0, prediction)
    columns = {"age": Texts.of(age.tolist()), "region": Texts.of(region.tolist())}
    return Rows.of(prediction, label, call=np.arange(count) // call, columns=columns)


def by_name(metrics: tuple[BiasMetric, ...]) -> dict[str, BiasMetric]:
    """Return metrics by name."""
    return {metric.metric.name: metric for metric in metrics}


def fitted(seed: int, count: int = 3000, **more: Any) -> Baseline:
    """Return a baseline of a holdout without bias."""
    values, deviations = bias.of_holdout(people(count, seed), AGE, positive=None, strata=("region",))
    return replace(BASELINE, facets=AGE, segments=("region",), bias=values, bias_deviation=deviations, **more)


@pytest.mark.parametrize(
    ("facet", "expected"),
    [
        (Facet(name="age", values=("30", "50")), [("30,50", [True, False, True, False])]),
        (Facet(name="age", threshold=30.0), [("30", [False, True, True, False])]),
        (
            Facet(name="age"),
            [
                ("30", [True, False, False, False]),
                ("50", [False, False, True, False]),
                ("70", [False, True, False, False]),
            ],
        ),
        (Facet(name="gone"), []),
    ],
)
def test_groups_of_a_facet(facet: Facet, expected: list[Any]) -> None:
    """Groups are all named values, values above a threshold, or each value; nulls belong to no group."""
    age = ["30", "70", "50", None]
    rows = Rows.of(np.ones(4), np.ones(4), columns={"age": Texts.of(age)})
    found = list(bias.groups(rows, [facet]))
    assert [(group.value, group.disfavoured.tolist()) for group in found] == expected
    assert all(group.known.tolist() == [True, True, True, False] for group in found)


def test_each_metric_has_its_stage_interval_and_baseline() -> None:
    """Twenty metrics in Clarify's order; the interval contains the value unless noise raises the metric."""
    rows = people(2000, 1)
    metrics = bias.live(rows, rows, fitted(2), MonitorSpec())
    assert tuple(by_name(metrics)) == confusion.NAMES
    for metric in metrics:
        measured = metric.metric
        assert (metric.facet, metric.facet_value, metric.stage) == ("age", "40", confusion.STAGES[measured.name])
        assert measured.value is not None
        assert measured.low is not None
        assert measured.high is not None
        assert measured.baseline is not None
        if measured.name not in ("KL", "JS", "LP", "TVD", "KS"):
            assert measured.low < measured.value < measured.high
        assert measured.violated is False


def test_the_conditional_metrics_are_of_the_first_other_column() -> None:
    """Conditional metrics use the first other column, and one subgroup without one."""
    rows = people(500, 3)
    label, d = rows.label > 0.5, rows.columns["age"].numbers() > 40
    expected = 0.0
    for code in (0, 1):
        part = rows.columns["region"].codes == code
        shares = [(d & part & (label == kind)).sum() / (part & (label == kind)).sum() for kind in (False, True)]
        expected += part.mean() * (shares[0] - shares[1])
    conditional, _ = bias.of_holdout(rows, AGE, positive=None, strata=("age", "region"))
    plain, _ = bias.of_holdout(rows, AGE, positive=None, strata=())
    assert conditional["age=40/CDDL"] == pytest.approx(expected)
    assert plain["age=40/CDDL"] == pytest.approx(d[~label].mean() - d[label].mean())


def test_a_group_that_is_refused_more_often_is_found() -> None:
    """Prediction metrics violate before and after labels arrive; label metrics do not."""
    rows = people(3000, 4, accepted_old=0.35)
    metrics = by_name(bias.live(rows, rows, fitted(2), MonitorSpec()))
    violated = {name for name, metric in metrics.items() if metric.metric.violated}
    assert {"DPPL", "DI", "RD", "CDDPL"} <= violated
    assert violated.isdisjoint({"CI", "DPL", "CDDL", "TVD"})
    nothing = rows.where(np.zeros(len(rows), dtype=bool))
    early = by_name(bias.live(nothing, rows, fitted(2), MonitorSpec()))
    assert {name for name, metric in early.items() if metric.metric.violated} == {"DPPL", "DI", "CDDPL"}


@pytest.mark.parametrize("windows", [12, pytest.param(600, marks=pytest.mark.campaign)])
def test_windows_without_a_change_rarely_violate(windows: int) -> None:
    """At most one of 60 unchanged windows of 400 to 4000 rows violates, despite noise of window and holdout."""
    alarms = 0
    for seed in range(windows):
        rows = people((400, 1000, 4000)[seed % 3], 100 + seed, call=(1, 3)[seed % 2])
        metrics = bias.live(rows, rows, fitted(1000 + seed % 10, 800), MonitorSpec())
        alarms += any(metric.metric.violated for metric in metrics)
    assert alarms <= windows / 60


@pytest.mark.parametrize("change", ["few rows", "few positives", "no baseline"])
def test_too_little_says_nothing(change: str) -> None:
    """A small group, a ratio of few rows and a missing baseline value never violate."""
    rows = people(3000, 4, accepted_old=0.2)
    baseline = fitted(2)
    if change == "few rows":
        old = rows.columns["age"].numbers() > 40
        rows = rows.where(~old | (np.cumsum(old) <= 90))
    if change == "few positives":
        rows = rows.where((rows.prediction == 0) | (np.cumsum(rows.prediction) <= 50))
    if change == "no baseline":
        baseline = replace(baseline, bias=None)
    metrics = by_name(bias.live(rows, rows, baseline, MonitorSpec()))
    named = {"few positives": ("DAR", "DCA", "TE")}.get(change, confusion.NAMES)
    assert all(metrics[name].metric.violated is None for name in named)


def test_a_facet_with_one_group_has_no_metric() -> None:
    """A facet with one group has no comparison and no metric."""
    rows = people(50, 1)
    only = rows.where(rows.columns["age"].numbers() > 40)
    assert bias.live(only, only, replace(BASELINE, facets=AGE), MonitorSpec()) == ()


def test_a_single_call_has_no_interval() -> None:
    """With one call all draws are equal, so there is no interval and no violation."""
    rows = people(3000, 4, accepted_old=0.2, call=3000)
    metrics = bias.live(rows, rows, fitted(2), MonitorSpec())
    assert {(one.metric.low, one.metric.high, one.metric.violated) for one in metrics} == {(None, None, None)}
    assert bias.of_holdout(rows, AGE, positive=None, strata=())[1] == {}


def test_groups_of_the_baseline_that_are_gone_are_named() -> None:
    """Names groups of the baseline without rows, also of facets without values; a window without calls names none."""
    each = (Facet(name="age"), Facet(name="sex"))
    rows = people(500, 1)
    values, _ = bias.of_holdout(rows, each, positive=None, strata=())
    baseline = replace(BASELINE, facets=each, bias=values)
    assert bias.unmeasured(bias.live(rows, rows, baseline, MonitorSpec()), rows, baseline) == []
    texts = Texts.of(["30" if code else "60" for code in rows.columns["age"].codes])
    moved = Rows.of(rows.prediction, rows.label, columns={"age": texts})
    [reported] = bias.unmeasured(bias.live(moved, moved, baseline, MonitorSpec()), moved, baseline)
    assert reported.startswith("bias of age=50 is not measured")
    nothing = rows.where(np.zeros(len(rows), dtype=bool))
    assert bias.unmeasured((), nothing, baseline) == []


def test_infinities_are_clarifys_number() -> None:
    """With nobody of facet a accepted, DI is infinite and a number in JSON."""
    age = Texts.of(["30"] * 50 + ["50"] * 50)
    prediction = np.repeat([0.0, 1.0], 50)
    rows = Rows.of(prediction, np.tile([0.0, 1.0], 50), columns={"age": age})
    metrics = by_name(bias.live(rows, rows, replace(BASELINE, facets=AGE, bias={"age=40/DI": 1.0}), MonitorSpec()))
    assert metrics["DI"].metric.value == metrics["DI"].metric.high == 2.348543e108
    assert metrics["DI"].metric.violated is None
    values, deviations = bias.of_holdout(rows, AGE, positive=None, strata=())
    assert values["age=40/DI"] == bias.INFINITY
    assert "age=40/DI" not in deviations
    assert json.loads(json.dumps([values, deviations], allow_nan=False))


def test_violations_in_clarifys_shape() -> None:
    """Only violated metrics are listed, with the bias drift check type."""
    broken = Measured(name="DPPL", value=0.3, low=0.2, high=0.4, baseline=0.0, limit=0.05, violated=True)
    metrics = [
        BiasMetric(facet="age", facet_value="40", metric=broken, stage="post_training"),
        BiasMetric(facet="age", facet_value="40", metric=replace(broken, violated=None), stage="post_training"),
    ]
    lines = [to_dict(violation) for violation in bias.bias_violations(metrics)]
    assert [sorted(line) for line in lines] == [
        ["constraint_check_type", "description", "facet", "facet_value", "feature_name", "metric_name"]
    ]
    assert lines[0]["feature_name"] == "age=40"
    assert lines[0]["constraint_check_type"] == "bias_drift_check"
    assert lines[0]["description"].startswith("Value 0.3 does not meet the constraint requirement")
