"""Metrics of labels joined with predictions row by row, checked against arithmetic."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.monitor_report import Measured, QualityResult, SegmentQuality
from mlops_runtime.monitor.monitors.label_join import Joined, Timed, join_window
from mlops_runtime.monitor.monitors.label_measures import (
    MAXIMUM_SEGMENTS,
    MISMATCHED,
    UNMATCHED,
    UNREADABLE,
    Target,
    default_limit,
    measure,
    measured,
    segments_of,
)
from mlops_runtime.monitor.monitors.rows import Rows, Texts
from mlops_runtime.monitor.spec import MonitorSpec

UNUSABLE = "labelled row cannot be evaluated"


def joined(
    labels: Any, captures: Any, *, baseline: Baseline | None = None, spec: MonitorSpec | None = None, **of: Any
) -> Joined:
    """Join a window."""
    hours = (spec or MonitorSpec()).label_delay_hours
    return join_window(labels, captures, baseline=baseline, label_delay_hours=hours, **of)


def quality_of(
    labels: Any, captures: Any, *, baseline: Baseline | None = None, spec: MonitorSpec | None = None, **of: Any
) -> QualityResult:
    """Join a window and measure its quality."""
    return measure(joined(labels, captures, baseline=baseline, spec=spec, **of), baseline, spec)


def rows_of(**columns: list[str | None]) -> Rows:
    """Return rows with columns."""
    size = np.ones(len(next(iter(columns.values()))))
    return Rows.of(size, size, columns={name: Texts.of(texts) for name, texts in columns.items()})


def test_each_row_is_in_one_segment_of_each_column() -> None:
    """Segments are ordered by size, null is a segment, and a column that rows lack has none."""
    rows = rows_of(store=["b", "a", None, "a"], kind=["x", "x", "x", "x"])
    found = [(name, len(part)) for name, part in segments_of(rows, ["store", "kind", "gone"])]
    assert found == [("store=a", 2), ("kind=x", 4), ("store=b", 1), ("store=null", 1)]


def test_a_column_with_few_values_is_whole_beside_one_with_many() -> None:
    """The number of segments is bounded per column."""
    rows = rows_of(many=[str(index) for index in range(60)], few=["u", "v"] * 30)
    names = [name for name, _ in segments_of(rows, ["many", "few"])]
    assert len(names) == MAXIMUM_SEGMENTS
    assert {"few=u", "few=v"} <= set(names)


NUMBER = st.floats(0, 100, width=32, allow_subnormal=False)
PAIR = st.tuples(NUMBER, NUMBER)


@given(st.lists(st.lists(PAIR, min_size=1, max_size=5), min_size=1, max_size=8), st.randoms())
def test_wape_and_bias_over_all_rows(lines: Any, calls: list[list[tuple[float, float]]], random: Any) -> None:
    """Each row is matched to its own prediction, in any order of labels."""
    captures = [
        lines.call(
            None, json.dumps({"predictions": [p for p, _ in call]}), output_encoding="JSON", inference_id=f"c{i}"
        )
        for i, call in enumerate(calls)
    ]
    labels = [lines.label("x", [y for _, y in call], inference_id=f"c{i}") for i, call in enumerate(calls)]
    random.shuffle(labels)
    quality = quality_of(labels, captures)
    pairs = [pair for call in calls for pair in call]
    total = sum(y for _, y in pairs)
    assert quality.rows == len(pairs)
    if total > 0:
        assert quality.values["wape"] == pytest.approx(sum(abs(p - y) for p, y in pairs) / total)
        assert quality.values["bias"] == pytest.approx(sum(p - y for p, y in pairs) / total, abs=1e-9)
    else:
        assert quality.values == {}


def test_the_event_id_joins_without_an_inference_id(lines: Any) -> None:
    """SageMaker's event id is the key without an inference id."""
    quality = quality_of([lines.label("e-7", [10])], [lines.call(None, "12\n", event_id="e-7")])
    assert (quality.rows, quality.values) == (1, {"wape": 0.2, "bias": 0.2})


def test_a_label_uploaded_again_replaces_and_a_call_captured_twice_counts_once(lines: Any) -> None:
    """Duplicates change only the value of a corrected label."""
    labels = [lines.label("e-1", [5]), lines.label("e-1", [10])]
    quality = quality_of(labels, [lines.call(None, "8"), lines.call(None, "8")])
    assert (quality.rows, quality.values) == (1, {"wape": 0.2, "bias": -0.2})


def test_synthetic_calls_are_not_joined(lines: Any) -> None:
    """Synthetic calls are not joined, even if labelled."""
    synthetic = "mlops-synthetic-1-29174fbf3e2370f6"
    captures = [lines.call(None, "99\n", inference_id=synthetic), lines.call(None, "12\n", inference_id="c1")]
    labels = [lines.label("x", [1], inference_id=synthetic), lines.label("x", [10], inference_id="c1")]
    quality = quality_of(labels, captures, announced=lambda *_: True)
    assert (quality.rows, quality.values["wape"], quality.problems) == (1, 0.2, {UNMATCHED: 1})
    assert quality_of(labels, captures).rows == 2  # not announced, so it is a caller's


def test_rows_without_a_label_or_a_finite_prediction_are_left_out(lines: Any) -> None:
    """The other rows keep their labels."""
    quality = quality_of([lines.label("e-1", [10, "", 20, 30])], [lines.call(None, "11\n5\nnan\n27")])
    assert (quality.rows, quality.values["wape"]) == (2, 4 / 40)


def test_what_does_not_fit_is_counted(lines: Any) -> None:
    """Counts labels without a call, calls with another number of labels, and broken lines."""
    labels = [lines.label("none", [1]), lines.label("e-1", [1, 2]), "{"]
    captures = [lines.call(None, "1\n2\n3"), "[]", "", lines.call("1,2,3")]
    assert joined(labels, captures).malformed == 2
    quality = quality_of(labels, captures)
    unread = "line of labels cannot be read"
    assert (quality.rows, quality.problems) == (0, {UNMATCHED: 1, MISMATCHED: 1, unread: 1})


def test_an_earlier_models_errors_are_not_counted(lines: Any) -> None:
    """Labels that arrive after a promotion measure the model that predicted."""
    calls = [lines.call(None, "1", event_id=f"e{h}", time=f"2017-08-07T{h}:00:00Z") for h in (10, 11)]
    quality = quality_of([lines.label("e10", [2]), lines.label("e11", [4])], calls, since="2017-08-07T11:00:00Z")
    assert (quality.rows, quality.values["wape"], quality.problems) == (1, 0.75, None)


def test_labels_that_are_no_numbers_are_counted(lines: Any) -> None:
    """An empty label is a row not labelled yet; neither kind shifts other rows."""
    truth = lines.label("e-1", ["x", 2, "", "inf", "nan"])
    quality = quality_of([truth], [lines.call(None, "1\n2\n3\n4\n5")])
    assert (quality.rows, quality.values["wape"], quality.problems) == (1, 0.0, {UNREADABLE: 3})


def test_a_label_before_the_window_is_not_missed_again(lines: Any) -> None:
    """Earlier labels, whose calls are older, are read only for coverage."""
    at = datetime(2017, 8, 7, tzinfo=UTC)
    labels = [Timed(at - timedelta(days=3), lines.label("old", [1])), Timed(at, lines.label("new", [1]))]
    assert joined(labels, [], window_from="2017-08-07T00:00:00Z").unmatched == 1


def test_captures_are_read_no_further_than_needed(lines: Any) -> None:
    """Without labels no capture is read; reading stops after the last label's call."""

    def captures() -> Iterator[str]:
        yield lines.call(None, "12")
        pytest.fail("read beyond the last label's call")

    assert quality_of([lines.label("e-1", [10])], captures()).rows == 1
    assert quality_of([], iter(lambda: pytest.fail("read without labels"), None)).rows == 0


INPUTS = (
    FeatureBaseline(name="store", type="category", counts=()),
    FeatureBaseline(name="age", type="number", counts=()),
)
PLAIN = Baseline(features=INPUTS, rows=1, training_set_id="t", created="2017-08-01T00:00:00Z")


def by_name(metrics: tuple[Measured, ...]) -> dict[str, Measured]:
    """Return metrics by name."""
    return {metric.name: metric for metric in metrics}


def window(lines: Any, count: int, *, scores: bool) -> tuple[list[str], list[str]]:
    """Return labels and captures of calls from two stores; predictions for the west are far worse."""
    random = np.random.default_rng(2)
    labels, captures = [], []
    for number in range(count):
        store, age = ("north", "west")[number % 2], random.choice([30, 50])
        noise = 0.1 if store == "north" else 0.5
        if scores:
            truth = int(random.random() < 0.5)
            value = np.clip(truth * 0.8 + 0.1 + random.normal(0, noise), 0, 1)
        else:
            truth = random.normal(100, 10)
            value = truth * (1 + random.normal(0, noise))
        captures.append(lines.call(f"{store},{age}", f"{value},{value - 5},{value + 5}", event_id=f"e{number}"))
        labels.append(lines.label(f"e{number}", [truth]))
    return labels, captures


def test_a_regression_is_measured_by_segment_with_intervals(lines: Any) -> None:
    """Each metric lies in its interval, segments cover all rows, and the worse one is found."""
    baseline = replace(PLAIN, segments=("store",), quality={"wape": 0.1})
    quality = quality_of(*window(lines, 600, scores=False), baseline=baseline)
    metrics = by_name(quality.metrics)
    assert list(metrics) == ["wape", "bias", "mae", "rmse", "r2", "interval_coverage"]
    for metric in quality.metrics:
        assert metric.low is not None
        assert metric.high is not None
        assert metric.value is not None
        assert metric.low <= metric.value <= metric.high
        assert metric.rows == 600
    assert (metrics["wape"].value, metrics["bias"].value) == pytest.approx(
        (quality.values["wape"], quality.values["bias"])
    )
    assert {(part.segment, part.rows) for part in quality.segments} == {("store=north", 300), ("store=west", 300)}
    wape = {part.segment: by_name(part.metrics)["wape"] for part in quality.segments}
    assert wape["store=west"].low > 2 * wape["store=north"].high  # type: ignore[operator] # both are known
    assert metrics["wape"].limit == pytest.approx(0.125)
    assert (metrics["wape"].violated, metrics["mae"].violated) == (True, None)


def test_a_classification_is_measured_at_its_threshold(lines: Any) -> None:
    """Precision and recall depend on the threshold; there are no regression metrics."""
    labels, captures = window(lines, 400, scores=True)
    plain = replace(PLAIN, target="classification")
    strict = quality_of(labels, captures, baseline=replace(plain, positive=0.9))
    even = quality_of(labels, captures, baseline=plain)
    names = ["auc", "average_precision", "f1", "precision", "recall", "accuracy", "ece", "brier", "log_loss"]
    assert list(by_name(even.metrics)) == names
    assert by_name(strict.metrics)["auc"] == by_name(even.metrics)["auc"]
    assert by_name(strict.metrics)["recall"].value < by_name(even.metrics)["recall"].value  # type: ignore[operator]


def test_rows_that_a_classification_cannot_be_judged_by_are_told(lines: Any) -> None:
    """Reports a count as a label, and a score above 1."""
    captures = [lines.call(None, value, event_id=f"e{value}") for value in ("0.5", "0.25", "3")]
    labels = [lines.label("e0.5", [1]), lines.label("e0.25", [7]), lines.label("e3", [0])]
    quality = quality_of(labels, captures, baseline=replace(PLAIN, target="classification"))
    assert (quality.rows, quality.problems) == (3, {UNUSABLE: 2})
    assert by_name(quality.metrics)["accuracy"].rows == 1


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"rmse": 9.0}, {"rmse": True}),
        ({"rmse": 9.9}, {"rmse": False}),
        ({"rmse": 11.0, "bias": 0.02}, {"rmse": False, "bias": True}),
        ({"bias": 0.2}, {"bias": False}),
        ({"r2": 0.5}, {"r2": True}),
        ({"r2": -5.0}, {"r2": False}),
        ({"wape": 0.05}, {"wape": True}),
        ({}, {"wape": False}),
    ],
)
def test_a_limit_is_broken_when_the_whole_interval_is_worse(
    limits: Mapping[str, float], expected: Mapping[str, bool]
) -> None:
    """Lower is worse for some metrics, either side for bias; WAPE is compared with the holdout unless it has a limit."""
    random = np.random.default_rng(5)
    label = random.normal(100, 5, 2000)
    rows = Rows.of(label + random.normal(-5, 8.66, 2000), label)
    spec = MonitorSpec(quality_limits=limits, maximum_wape_ratio=1.25)
    found = by_name(measured(rows, Target("regression", 0.0), spec, {"wape": 0.09}))
    assert {name: metric.violated for name, metric in found.items() if metric.violated is not None} == (
        expected if "wape" in expected else {**expected, "wape": False}
    )


def test_wape_is_violated_when_its_whole_interval_is_too_high() -> None:
    """Hardly ever for 100 heavy-tailed labels at the holdout's error; always a fifth beyond the limit with enough rows."""
    random, target, spec = np.random.default_rng(6), Target("regression", 0.0), MonitorSpec()
    fires = {}
    for ratio, rows, times in ((1.0, 100, 200), (1.5, 5000, 20)):
        found = []
        for _ in range(times):
            label = random.lognormal(0, 1, rows)
            error = label * random.lognormal(0, 1, rows) * random.choice([-1, 1], rows) * ratio
            holdout = np.exp(0.5)  # the mean error factor
            [wape] = [
                m for m in measured(Rows.of(label + error, label), target, spec, {"wape": holdout}) if m.name == "wape"
            ]
            found.append(wape)
        fires[ratio] = (sum(bool(m.violated) for m in found), sum(m.value > 1.25 * holdout for m in found))  # type: ignore[operator]
    assert fires[1.0][0] <= 1
    assert fires[1.0][1] > 4
    assert fires[1.5][0] == 20


@pytest.mark.parametrize(
    ("skill", "expected"),
    [(1.0, {"auc": False, "brier": False}), (0.0, {"auc": True, "brier": True})],
)
def test_a_classifier_is_compared_with_its_holdout(skill: float, expected: dict[str, bool]) -> None:
    """Without explicit limits, predictions as good as the holdout's pass and uninformative ones violate."""
    random, target = np.random.default_rng(4), Target("classification", 0.5)
    label = (random.random(4000) < 0.5).astype(np.float64)
    prediction = 1 / (1 + np.exp(-(4 * skill * (label - 0.5) + random.normal(size=4000))))
    as_good = 1 / (1 + np.exp(-(4 * (label - 0.5) + random.normal(size=4000))))
    holdout = {m.name: m.value or 0.0 for m in measured(Rows.of(as_good, label), target, None, {})}
    found = measured(Rows.of(prediction, label), target, MonitorSpec(), {**holdout, "wape": 0.1})
    assert {m.name: m.violated for m in found if m.violated is not None} == expected


def test_what_nothing_is_asked_of_has_no_limit() -> None:
    """A holdout loss of 0 has no ratio, and an AUC of one half cannot get worse."""
    assert default_limit("auc", {"auc": 1.0}, MonitorSpec()) == pytest.approx(0.9)
    assert default_limit("auc", {"auc": 0.5}, MonitorSpec()) is None
    assert default_limit("wape", {"wape": 0.0}, MonitorSpec()) is None
    assert default_limit("f1", {"f1": 0.9}, MonitorSpec()) is None


def test_few_rows_violate_nothing() -> None:
    """Too few rows are no evidence."""
    rows = Rows.of(np.arange(99.0), np.ones(99))
    spec = MonitorSpec(quality_limits={"mae": 0.1})
    assert all(metric.violated is None for metric in measured(rows, Target("regression", 0.0), spec, {"wape": 0.1}))


def test_a_single_call_violates_nothing_and_does_not_hold() -> None:
    """With one call all draws are equal: neither a violation nor OK."""
    rows = Rows.of(np.full(500, 3.0), np.arange(1.0, 501.0), call=np.zeros(500, dtype=np.int64))
    found = measured(rows, Target("regression", 0.0), MonitorSpec(quality_limits={"mae": 1e9}), {"wape": 0.001})
    assert found
    assert {(metric.low, metric.high, metric.violated) for metric in found} == {(None, None, None)}


@pytest.mark.parametrize(
    ("requested", "positives", "unusable", "expected"),
    [
        ({}, 100, 0, {"auc": False, "brier": False}),
        ({}, 100, 5, {"auc": False, "brier": False}),
        ({}, 100, 20, {}),  # the remaining rows are not a sample of all
        ({}, 0, 0, {"brier": False}),
        ({"auc": 0.7}, 0, 0, {}),  # the metric with a limit is undefined
        ({"auc": 0.7, "log_loss": 0.0001}, 0, 0, {"log_loss": True}),  # a violated metric counts nevertheless
    ],
)
def test_a_classifier_does_not_hold_by_part_of_what_was_asked(
    lines: Any, requested: dict[str, float], positives: int, unusable: int, expected: dict[str, bool]
) -> None:
    """Undefined metrics with a limit and unusable labelled rows are named and prevent OK."""
    values = [1] * positives + [0] * (200 - positives)
    captures = [lines.call(None, str(0.1 + 0.8 * value), event_id=f"e{n}") for n, value in enumerate(values)]
    labels = [lines.label(f"e{n}", [2 if n < unusable else value]) for n, value in enumerate(values)]
    baseline = replace(PLAIN, target="classification", quality={"auc": 0.9, "brier": 0.1})
    quality = quality_of(labels, captures, baseline=baseline, spec=MonitorSpec(quality_limits=requested))
    assert {metric.name: metric.violated for metric in quality.metrics if metric.violated is not None} == expected
    undefined = {} if positives else {"quality: auc has a limit and is undefined: all labels are 0": 1}
    assert (quality.problems or {}) == ({UNUSABLE: unusable} if unusable else {}) | undefined
    part = "20 of 200 labelled rows cannot be evaluated" if unusable == 20 else None
    assert quality.unjudged == ("auc has a limit and is undefined: all labels are 0" if "auc" in requested else part)


def test_rows_without_a_prediction_are_not_passed_over(lines: Any) -> None:
    """If half of the responses are not numbers, the remaining rows do not represent the model."""
    captures = [lines.call(None, "10" if n % 2 else "nan", event_id=f"e{n}") for n in range(400)]
    labels = [lines.label(f"e{n}", [10]) for n in range(400)]
    quality = quality_of(labels, captures, baseline=replace(PLAIN, quality={"wape": 0.2}))
    assert (quality.rows, quality.problems) == (200, {UNUSABLE: 200})
    assert all(metric.violated is None for metric in quality.metrics)


@pytest.mark.parametrize(
    ("label", "event", "reason"),
    [
        (["n/a"], "e", "no label can be used, label is not a number: 100"),
        ([1, 2], "e", "no label can be used, labels and predictions of a call differ in number: 100"),
        ([1], "x", "no label can be used, label without a captured call: 100"),
    ],
)
def test_labels_that_came_and_are_of_no_use_are_no_missing_labels(
    lines: Any, label: list[object], event: str, reason: str
) -> None:
    """Unusable labels are reported as such, not as missing labels."""
    captures = [lines.call(None, "10", event_id=f"e{n}") for n in range(100)]
    quality = quality_of([lines.label(f"{event}{n}", label) for n in range(100)], captures)
    assert (quality.rows, quality.unjudged) == (0, reason)
    assert quality_of([], captures).unjudged is None


def test_lines_of_labels_that_cannot_be_read_are_told_apart_from_captures(lines: Any) -> None:
    """Unreadable captures are reported by the counts, not here."""
    labels = [*(lines.label(f"e{n}", [8]) for n in range(5)), "{", "[]"]
    captures = ["{", *(lines.call(None, "10", event_id=f"e{n}") for n in range(5))]
    assert joined(labels, captures).malformed == 3
    assert quality_of(labels, captures).problems == {"line of labels cannot be read": 2}


def test_a_call_that_was_captured_twice_is_told(lines: Any) -> None:
    """Counts the call once and reports the duplicate."""
    captures = [lines.call(None, "10", event_id=f"e{n % 50}") for n in range(60)]
    quality = quality_of([lines.label(f"e{n}", [8]) for n in range(50)], captures, now=datetime(2018, 1, 1, tzinfo=UTC))
    assert quality.problems == {"call was captured more than once": 10}


@pytest.mark.parametrize("huge", ["1e39", "1e154", "1e200", "1.7e308", "-1.7e308"])
def test_one_absurd_number_spoils_nothing_but_its_row(lines: Any, huge: str) -> None:
    """A value whose square overflows a double is counted, and the other rows are measured without it."""
    labels = [lines.label(f"e{n}", [huge if n == 7 else n + 1]) for n in range(200)]
    captures = [lines.call(None, huge if n == 9 else str(n + 2), event_id=f"e{n}") for n in range(200)]
    quality = quality_of(labels, captures)
    assert (quality.rows, quality.problems) == (198, {UNREADABLE: 1, UNUSABLE: 1})
    assert by_name(quality.metrics)["rmse"].value == 1.0
    assert canonical_json(quality.metrics)


def test_coverage_and_delay_are_told(lines: Any) -> None:
    """Calls older than the label delay are due; nothing is reported about calls that were not read."""
    captures = [lines.call(None, "8", event_id=f"e{h}", time=f"2017-08-07T{h}:00:00Z") for h in (10, 11, 20)]
    uploaded = datetime(2017, 8, 7, 22, tzinfo=UTC)
    labels = [Timed(uploaded, lines.label("e10", [8]))]
    now = datetime(2017, 8, 8, tzinfo=UTC)
    quality = quality_of(labels, captures, now=now, spec=MonitorSpec(label_delay_hours=6))
    assert (quality.coverage, quality.label_delay_hours) == (0.5, 12.0)
    quality = quality_of([lines.label("e10", [8])], captures)
    assert (quality.coverage, quality.label_delay_hours) == (None, None)


def test_what_cannot_be_measured_is_named(lines: Any) -> None:
    """Names columns that callers do not send, and limits of unknown metrics."""
    baseline = replace(PLAIN, segments=("store", "region"))
    spec = MonitorSpec(quality_limits={"auc": 0.7})
    quality = quality_of([lines.label("e-1", [1])], [lines.call("north,4", "2")], baseline=baseline, spec=spec)
    region, auc = quality.problems or ()
    assert "'region'" in region
    assert "'auc'" in auc
    assert [part.segment for part in quality.segments] == ["store=north"]


def test_everything_measured_is_json(lines: Any) -> None:
    """One row, one class and constant labels give neither NaN nor infinity."""
    one = quality_of(
        [lines.label("e-1", [0])], [lines.call("north,4", "0")], baseline=replace(PLAIN, segments=("store",))
    )
    captures = [lines.call(f"north,{age}", "0.9", event_id=str(age)) for age in (30, 50)]
    labels = [lines.label(key, [0]) for key in ("30", "50")]
    two = quality_of(labels, captures, baseline=replace(PLAIN, target="classification"))
    for quality in (one, two):
        assert canonical_json(quality)
    assert one.segments == (SegmentQuality(segment="store=north", rows=1, metrics=one.segments[0].metrics),)
    assert [metric.name for metric in one.metrics] == ["mae", "rmse"]


def test_labels_of_a_vector_have_no_metric() -> None:
    """The absence of metrics is reported if labels arrived or limits are set."""
    baseline = Baseline(features=(), rows=1, training_set_id="t", created="", target="vector", width=3)
    none = joined([], [], baseline=baseline)
    assert measure(none, baseline=baseline) == QualityResult()
    why = "a vector has no metric of labels; its custom_loss is measured in evaluations only"
    limited = measure(none, baseline, MonitorSpec(quality_limits={"wape": 0.3}))
    assert (limited.problems, limited.unjudged) == ({f"quality: {why}": 1}, None)
    assert measure(replace(none, unreadable=2), baseline).unjudged == why
