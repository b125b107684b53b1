"""The table of states, and what is published in each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mlops_runtime.contracts.monitor import Baseline, FeatureDrift, MonitorReport, MonitorState
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.counts import empty
from mlops_runtime.monitor.decide import Examination, FeatureDecision
from mlops_runtime.monitor.quality import Quality
from mlops_runtime.monitor.report import Evidence, Window, build, drift_state, metric_data, quality_state
from mlops_runtime.monitor.spec import MonitorSpec

NOW = datetime(2017, 8, 14, 0, 5, tzinfo=UTC)
SPEC = MonitorSpec(alarm_features=("price",))
LIVE = LivePointer(
    endpoint="demand-forecast", config="c", model="m", model_package_arn="arn:p/1", model_sha256="s", artifact_uri="s3://a",
    baseline_uri="s3://b", evaluation_uri="s3://e", training_set_id="set-1", spec_sha256="x", spec_uri="s3://x", execution="arn:e",
    since="2017-08-01T00:00:00Z",
)  # fmt: skip
GOOD = Quality(rows=500, wape=0.44, bias=0.1, unmatched=0, mismatched=0, malformed=0)


def decision(name: str, *, drifted: bool) -> FeatureDecision:
    """Return a verdict on one feature."""
    examination = Examination(p_value=0.0)
    return FeatureDecision(
        drift=FeatureDrift(name=name, psi=0.2, p_value=0.0, drifted=drifted), examination=examination
    )


@pytest.fixture
def evidence(baseline: Baseline) -> Evidence:
    """A full window in which nothing is wrong."""
    counts = replace(empty(baseline), rows=1000, calls=1000)
    return Evidence(
        live=LIVE, baseline=baseline, counts=counts, quality=GOOD, decisions=(decision("price", drifted=False),)
    )


def rows(evidence: Evidence, number: int) -> Evidence:
    """Return the evidence with another number of rows."""
    assert evidence.counts is not None
    return replace(evidence, counts=replace(evidence.counts, rows=number, calls=number))


def test_drift_states_in_their_order(evidence: Evidence) -> None:
    """Each reason not to know has its own state; only a full window is OK or VIOLATION."""
    older = replace(evidence, live=replace(LIVE, training_set_id="set-2"))
    silent = rows(evidence, 0)
    states = [
        drift_state(Evidence(), SPEC),
        drift_state(older, SPEC),
        drift_state(replace(silent, uncounted=3), SPEC),
        drift_state(replace(silent, invocations=5), SPEC),
        drift_state(silent, SPEC),
        drift_state(rows(evidence, 199), SPEC),
        drift_state(evidence, SPEC),
        drift_state(replace(evidence, decisions=(decision("price", drifted=True),)), SPEC),
    ]
    assert states == [
        MonitorState.NOT_YET_DEPLOYED,
        MonitorState.BASELINE_OLDER_THAN_MODEL,
        MonitorState.MONITOR_NOT_RUN,
        MonitorState.NO_CAPTURE,
        MonitorState.NO_TRAFFIC,
        MonitorState.INSUFFICIENT_DATA,
        MonitorState.OK,
        MonitorState.VIOLATION,
    ]


def test_captures_that_cannot_be_read_are_not_silence(evidence: Evidence) -> None:
    """Only malformed lines: there was traffic, there is nothing to test."""
    assert evidence.counts is not None
    broken = replace(evidence, counts=replace(evidence.counts, rows=0, calls=0, malformed=9))
    assert drift_state(broken, SPEC) is MonitorState.INSUFFICIENT_DATA


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rows": 0, "wape": None}, MonitorState.NO_LABELS_YET),
        ({"rows": 99}, MonitorState.INSUFFICIENT_DATA),
        ({"wape": None}, MonitorState.INSUFFICIENT_DATA),
        ({"wape": 0.5}, MonitorState.OK),
        ({"wape": 0.51}, MonitorState.VIOLATION),
    ],
)
def test_quality_states(evidence: Evidence, change: dict[str, Any], expected: MonitorState) -> None:
    """The holdout's WAPE is 0.4, so 1.25 times it is 0.5."""
    assert quality_state(replace(evidence, quality=replace(GOOD, **change)), SPEC) is expected
    assert quality_state(Evidence(), SPEC) is MonitorState.NOT_YET_DEPLOYED
    older = replace(evidence, live=replace(LIVE, training_set_id="set-2"))
    assert quality_state(older, SPEC) is MonitorState.BASELINE_OLDER_THAN_MODEL


def test_quality_without_a_holdout_metric_is_not_ok(evidence: Evidence, baseline: Baseline) -> None:
    """A ratio to nothing is not known."""
    assert (
        quality_state(replace(evidence, baseline=replace(baseline, quality={})), SPEC) is MonitorState.INSUFFICIENT_DATA
    )


def report_of(evidence: Evidence) -> MonitorReport:
    """Return the report of the evidence's window."""
    return build(evidence, SPEC, endpoint="demand-forecast", variant="AllTraffic", window=Window.before(NOW, 168))


def test_a_report_says_what_was_measured(evidence: Evidence) -> None:
    """Window, rows, model, and live quality beside the holdout's."""
    report = report_of(evidence)
    assert (report.window_from, report.window_until) == ("2017-08-07T00:00:00Z", "2017-08-14T00:00:00Z")
    assert (report.rows, report.labelled_rows, report.model_package_arn) == (1000, 500, "arn:p/1")
    assert dict(report.quality) == {"wape": 0.44, "bias": 0.1, "wape_ratio": pytest.approx(1.1)}
    assert report.quality_baseline == {"wape": 0.4, "bias": 0.0}


def values(report: MonitorReport) -> dict[str, float]:
    """Return published values as ``monitor/name``."""
    found = {}
    for datum in metric_data(report, SPEC, NOW):
        dimensions = {d["Name"]: d["Value"] for d in datum["Dimensions"]}
        assert (dimensions["Endpoint"], dimensions["Variant"]) == ("demand-forecast", "AllTraffic")
        feature = f"/{dimensions['Feature']}" if "Feature" in dimensions else ""
        found[f"{dimensions['Monitor']}/{datum['MetricName']}{feature}"] = datum["Value"]
    return found


def test_all_metrics_of_a_full_window(evidence: Evidence) -> None:
    """Aggregates, and a feature's own metric only where it was asked for."""
    drifted = replace(evidence, decisions=(decision("price", drifted=True), decision("stock", drifted=True)))
    assert values(report_of(drifted)) == {
        "heartbeat/Heartbeat": 1,
        "drift/SampleCount": 1000,
        "quality/SampleCount": 500,
        "drift/FeaturesDrifted": 2,
        "drift/MaxPsi": 0.2,
        "drift/Psi/price": 0.2,
        "quality/Wape": 0.44,
        "quality/Bias": 0.1,
        "quality/WapeRatio": pytest.approx(1.1),
    }


def test_what_is_not_known_is_not_published() -> None:
    """Silence publishes the heartbeat and the counts that show it, never a zero drift."""
    assert values(report_of(Evidence())) == {"heartbeat/Heartbeat": 1, "drift/SampleCount": 0, "quality/SampleCount": 0}


def test_windows_follow_one_another() -> None:
    """Runs that start some minutes late share no hour and leave none out."""
    first = Window.before(NOW, 168)
    second = Window.before(datetime(2017, 8, 21, 0, 59, tzinfo=UTC), 168)
    assert first.end == second.start
    elsewhere = datetime(2017, 8, 14, 2, 5, tzinfo=timezone(timedelta(hours=2)))
    assert Window.before(elsewhere, 168) == first
    assert first.extended(24).start == datetime(2017, 8, 6, tzinfo=UTC)
