"""The state table: the first reason for an unknown state, else OK or VIOLATION; exactly one state for any evidence."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from tests.runtime.monitor import reports
from tests.runtime.monitor.evidence import (
    EVIDENCE,
    FULL,
    GOOD,
    KNOWN,
    QUIET,
    SPEC,
    changed,
    drift_of,
    found,
    states,
)

from mlops_runtime.contracts.monitor import MonitorState, Violation
from mlops_runtime.contracts.monitor_report import BiasMetric, BiasResult, Measured
from mlops_runtime.monitor import monitors
from mlops_runtime.monitor.monitors.attribution_ranking import compare
from mlops_runtime.monitor.monitors.monitor_kind import silence
from mlops_runtime.monitor.monitors.monitor_table import overall, results
from mlops_runtime.monitor.window_evidence import Evidence


def test_the_worst_of_drift_and_quality_is_the_state_of_all() -> None:
    """Another monitor counts if it needs a person; an unusable baseline is always a violation."""
    ok, violation, little = MonitorState.OK, MonitorState.VIOLATION, MonitorState.INSUFFICIENT_DATA
    assert overall({"drift": ok, "quality": ok, "latency": little}, None) is ok
    assert overall({"drift": little, "quality": MonitorState.NO_LABELS_YET}, None) is little
    assert overall({"drift": ok, "quality": ok, "bias": violation}, None) is violation
    assert overall({"drift": ok, "quality": ok, "explainability": MonitorState.MONITOR_NOT_RUN}, None) is (
        MonitorState.MONITOR_NOT_RUN
    )
    assert overall({"drift": MonitorState.MONITOR_NOT_RUN, "quality": ok}, "changed") is violation


@given(EVIDENCE)
def test_every_evidence_has_exactly_one_state_a_monitor_and_one_of_all(evidence: Evidence) -> None:
    """Every combination has a state, a deployed model is never NOT_YET_DEPLOYED, and silence is never OK."""
    found = states(evidence)
    assert all(isinstance(state, MonitorState) for state in found.values())
    assert {"drift", "quality"} <= set(found) <= {"drift", "quality", "bias", "explainability", "latency"}
    assert isinstance(overall(found, evidence.flaw), MonitorState)
    assert (found["drift"] is MonitorState.NOT_YET_DEPLOYED) is (evidence.live is None)
    if found["drift"] in (MonitorState.OK, MonitorState.VIOLATION):
        assert silence(evidence.traffic) is None
        assert evidence.rows >= SPEC.minimum_rows
        assert evidence.baseline is not None
        assert evidence.flaw is None
    if overall(found, evidence.flaw) is MonitorState.OK:
        assert set(found.values()) <= {
            MonitorState.OK, MonitorState.INSUFFICIENT_DATA, MonitorState.NO_TRAFFIC
        }  # fmt: skip


def test_quality_bias_and_attributions_are_in_the_same_file() -> None:
    """Each violation has the members of its own monitor in Model Monitor."""
    metrics = (
        Measured(name="auc", value=0.6, low=0.58, high=0.62, limit=0.7, violated=True),
        Measured(name="rmse", value=3.0, limit=2.0, violated=True),
        Measured(name="mae", value=1.0, violated=False),
    )
    bias = BiasMetric(
        facet="sex", facet_value="f", metric=Measured(name="DPL", value=0.2, violated=True), stage="pre_training"
    )
    mattered = {"a": 2.0, "b": 1.0, "c": 0.0}
    lines = found(
        changed(
            FULL,
            baseline=replace(KNOWN, attributions=mattered),
            quality=replace(GOOD, metrics=metrics),
            bias=BiasResult(metrics=(bias,)),
            explainability=compare(mattered, {"a": 0.0, "b": 1.0, "c": 4.0}, 0.9),
        )
    )
    assert [(line.constraint_check_type, line.metric_name) for line in lines] == [
        ("LessThanThreshold", "auc"),
        ("GreaterThanThreshold", "rmse"),
        ("bias_drift_check", "DPL"),
        ("feature_attribution_drift_check", "shap"),
    ]
    assert lines[0].description == "Metric auc with 0.6 (0.58 to 0.62) was LessThanThreshold '0.7'"
    assert (lines[2].facet, lines[2].facet_value, lines[2].feature_name) == ("sex", "f", "sex=f")


def test_a_changed_baseline_is_the_one_violation() -> None:
    """Results measured against the changed baseline are not reported."""
    drifted = replace(QUIET, drifted=True, persistent=True)
    [line] = found(changed(FULL, flaw="the baseline was changed", drift=drift_of(drifted)))
    assert (line.feature_name, line.constraint_check_type) == ("dataset", "baseline_integrity_check")


def test_violations_of_another_engine_are_passed_on() -> None:
    """Violations that Model Monitor wrote are kept."""
    theirs = (Violation(feature_name="x", constraint_check_type="baseline_drift_check", description="d"),)
    assert found(replace(FULL, violations=theirs)) == list(theirs)


def test_a_section_of_the_page_is_of_a_monitor_and_beside_it() -> None:
    """A monitor with a section has its template next to it, and every template has a monitor."""
    templates = {path.name.partition(".")[0] for path in Path(monitors.__file__).parent.glob("*.html.jinja")}
    shown = {
        kind.name
        for sample in reports.SAMPLES.values()
        for kind, result in results(sample().report)
        if kind.section(result, sample().baseline)
    }
    assert shown == templates == {"quality", "estimates", "bias", "explainability", "latency"}
