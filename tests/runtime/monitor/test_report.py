"""What a report says of what was measured, and how stale it is."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.runtime.monitor.evidence import FULL, SPEC

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Measured, MonitorReport, MonitorState
from mlops_runtime.monitor.monitors.attribution_ranking import Explanation
from mlops_runtime.monitor.monitors.latency_measures import Latency
from mlops_runtime.monitor.report import build
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence

WINDOW = Window.before(datetime(2017, 8, 14, 0, 15, tzinfo=UTC), 168)


def report_of(evidence: Evidence, spec: MonitorSpec = SPEC) -> MonitorReport:
    """Return the report of the evidence's window."""
    return build(evidence, spec, endpoint="demand-forecast", variant="AllTraffic", window=WINDOW)


def test_a_report_says_what_was_measured() -> None:
    """Window, rows, model, live quality beside the holdout's, thresholds, engine; and it is a contract."""
    latency = Latency(calls=500, measured=(Measured(name="p99", value=9.0, violated=False),))
    explanation = Explanation(state=MonitorState.OK, attributions={"price": 1.0}, ndcg=1.0)
    report = report_of(replace(FULL, latency=latency, explanation=explanation, hours_merged=3))
    assert (report.window_from, report.window_until) == ("2017-08-07T00:00:00Z", "2017-08-14T00:00:00Z")
    assert (report.rows, report.labelled_rows, report.model_package_arn) == (1000, 500, "arn:p/1")
    assert dict(report.quality) == {"wape": 0.44, "bias": 0.1, "wape_ratio": pytest.approx(1.1)}
    assert report.quality_baseline == {"wape": 0.4, "bias": 0.0}
    assert (report.engine, report.hours_merged, report.spec, report.problems) == ("LAMBDA", 3, SPEC, None)
    assert (report.state, report.latency_state, report.explainability_state, report.bias_state) == (
        MonitorState.OK,
        MonitorState.OK,
        MonitorState.OK,
        None,
    )
    assert (report.latency, report.ndcg, report.attributions) == (latency.measured, 1.0, {"price": 1.0})
    assert from_json(MonitorReport, canonical_json(report)) == report


def test_a_report_of_nothing_says_so() -> None:
    """Before the first rollout there is a state, and nothing that could be mistaken for a result."""
    report = report_of(Evidence())
    assert (report.state, report.rows, report.staleness, report.latency) == (
        MonitorState.NOT_YET_DEPLOYED,
        0,
        None,
        None,
    )
    assert (report.quality, report.quality_metrics, report.features) == ({}, None, ())


def test_a_flaw_of_the_baseline_is_among_the_problems() -> None:
    """So that whoever lists problems sees it."""
    report = report_of(replace(FULL, baseline=None, flaw="it was changed", problems={"line is not JSON": 2}))
    assert (report.baseline_flaw, report.problems) == ("it was changed", {"it was changed": 1, "line is not JSON": 2})
