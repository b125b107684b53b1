"""A report of measured results, and their staleness."""

from dataclasses import replace

from tests.runtime.monitor.evidence import FULL, SPEC, changed, report_of

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import ExplainabilityResult, LatencyResult, Measured, MonitorReport
from mlops_runtime.monitor.window_evidence import Evidence


def test_a_report_says_what_was_measured() -> None:
    """Contains window, rows, model, live and holdout quality, thresholds and engine, as a valid contract."""
    latency = LatencyResult(calls=500, metrics=(Measured(name="p99", value=9.0, violated=False),))
    explained = ExplainabilityResult(state=MonitorState.OK, attributions={"price": 1.0}, ndcg=1.0)
    report = report_of(changed(FULL, latency=latency, explainability=explained, hours_merged=3))
    assert (report.window_from, report.window_until) == ("2017-08-07T00:00:00Z", "2017-08-14T00:00:00Z")
    assert (report.rows, report.quality.rows, report.model_package_arn) == (1000, 500, "arn:p/1")
    assert report.quality.holdout == {"wape": 0.4, "bias": 0.0}
    assert (report.engine, report.hours_merged, report.spec, report.problems) == ("LAMBDA", 3, SPEC, None)
    assert (report.state, report.quality.state, report.bias) == (MonitorState.OK, MonitorState.OK, None)
    assert (report.latency, report.explainability) == (replace(latency, state=MonitorState.OK), explained)
    assert from_json(MonitorReport, canonical_json(report)) == report


def test_a_report_of_nothing_says_so() -> None:
    """Before the first rollout there is a state and no result."""
    report = report_of(Evidence())
    assert (report.state, report.rows, report.staleness, report.latency) == (
        MonitorState.NOT_YET_DEPLOYED,
        0,
        None,
        None,
    )
    assert (report.quality.values, report.quality.metrics, report.drift.features) == ({}, (), ())


def test_a_flaw_of_the_baseline_is_among_the_problems() -> None:
    """A list of problems includes the flaw."""
    report = report_of(replace(FULL, baseline=None, flaw="it was changed", problems={"line is not JSON": 2}))
    assert (report.baseline_flaw, report.problems) == ("it was changed", {"it was changed": 1, "line is not JSON": 2})
