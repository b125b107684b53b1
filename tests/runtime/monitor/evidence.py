"""Evidence of a run: a full window without findings, and variations of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from tests.runtime.monitor.timeline import BASELINE, LIVE

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Facet, MonitorState, Violation, Violations
from mlops_runtime.contracts.monitor_report import (
    DriftResult,
    ExplainabilityResult,
    FeatureDrift,
    LatencyResult,
    Measured,
    MonitorReport,
    QualityResult,
)
from mlops_runtime.monitor.monitors.drift.scrutiny import scrutinise
from mlops_runtime.monitor.monitors.monitor_table import MONITORS as KINDS
from mlops_runtime.monitor.monitors.monitor_table import decide, violations
from mlops_runtime.monitor.scheduled_run import build_report
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

SPEC = MonitorSpec()
KNOWN = replace(BASELINE, quality={"wape": 0.4, "bias": 0.0})
GOOD = QualityResult(
    rows=500,
    values={"wape": 0.44, "bias": 0.1, "wape_ratio": 1.1},
    holdout=KNOWN.quality,
    metrics=(Measured(name="wape", value=0.44, violated=False),),
)
QUIET = FeatureDrift(name="price", psi=0.0, p_value=1.0, drifted=False, persistent=False)
FULL = Evidence(
    live=LIVE,
    baseline=KNOWN,
    traffic=Traffic(invocations=9, counted=3, rows=1000),
    rows=1000,
    measured={"drift": DriftResult(features=(QUIET,)), "quality": GOOD},
)
WINDOW = Window.before(datetime(2017, 8, 14, 0, 15, tzinfo=UTC), 168)


def changed(evidence: Evidence, **changes: Any) -> Evidence:
    """Return evidence with other fields and, by monitor name, other results; None removes a result."""
    results = {name: changes.pop(name) for name in KINDS if name in changes}
    kept = {**evidence.measured, **results}
    return replace(evidence, measured={name: each for name, each in kept.items() if each is not None}, **changes)


def drift_of(*features: FeatureDrift) -> DriftResult:
    """Return the measured drift of features."""
    return DriftResult(features=features, scrutiny=scrutinise(KNOWN, features))


def states(evidence: Evidence, spec: MonitorSpec = SPEC) -> dict[str, MonitorState]:
    """Return the state of each monitor."""
    return {name: result.state for name, result in decide(evidence, WINDOW, spec).items()}


def report_of(evidence: Evidence, spec: MonitorSpec = SPEC) -> MonitorReport:
    """Return the report of the evidence's window."""
    return build_report(evidence, spec, endpoint="demand-forecast", variant="AllTraffic", window=WINDOW)


def measured(violated: bool | None, name: str = "rmse") -> Measured:
    """Return a metric with its verdict."""
    return Measured(name=name, value=1.0, violated=violated)


COUNTS = st.integers(0, 5)
TRAFFIC = st.builds(
    Traffic,
    invocations=COUNTS,
    counted=COUNTS,
    uncounted=COUNTS,
    rows=st.sampled_from([0, 1000]),
    malformed=COUNTS,
    synthetic=COUNTS,
    calls=COUNTS,
    announced=COUNTS,
)
VERDICT = st.sampled_from([None, True, False])
BASELINES = st.sampled_from(
    [None, KNOWN, replace(KNOWN, training_set_id="set-0"), replace(KNOWN, quality={}, facets=(Facet(name="sex"),))]
)
EVIDENCE = st.builds(
    Evidence,
    live=st.sampled_from([None, LIVE]),
    baseline=BASELINES,
    flaw=st.sampled_from([None, "changed"]),
    traffic=TRAFFIC,
    rows=st.sampled_from([0, 199, 200]),
    measured=st.fixed_dictionaries(
        {
            "drift": st.lists(
                st.builds(replace, st.just(QUIET), drifted=st.booleans(), persistent=VERDICT), max_size=2
            ).map(lambda features: drift_of(*features))
        },
        optional={
            "quality": st.sampled_from(
                [GOOD, replace(GOOD, rows=0, values={}), replace(GOOD, metrics=(measured(True),))]
            ),
            "explainability": st.sampled_from([ExplainabilityResult(state=MonitorState.OK), ExplainabilityResult()]),
            "latency": st.sampled_from([LatencyResult(), LatencyResult(calls=500, metrics=(measured(True, "p99"),))]),
        },
    ),
)
# members of the documentation's pages; ours add feature_name, so that one table can list all
DOCUMENTED = {
    "bias_drift_check": {"facet", "facet_value", "metric_name", "constraint_check_type", "description"},
    "feature_attribution_drift_check": {"label", "metric_name", "constraint_check_type", "description"},
    "LessThanThreshold": {"metric_name", "constraint_check_type", "description"},
    "GreaterThanThreshold": {"metric_name", "constraint_check_type", "description"},
}
DATA = {"feature_name", "constraint_check_type", "description"}


def found(evidence: Evidence, spec: MonitorSpec = SPEC) -> list[Violation]:
    """Return the violations; asserts that the file has exactly the documented members and reads back."""
    made = violations(report_of(evidence, spec), evidence)
    body = canonical_json(made)
    assert from_json(Violations, body) == made
    for line in json.loads(body)["violations"]:
        assert set(line) == DOCUMENTED.get(line["constraint_check_type"], set()) | DATA
    return list(made.violations)
