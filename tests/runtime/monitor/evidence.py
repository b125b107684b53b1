"""Evidence of one run: a full window in which nothing is wrong, and any that there may be."""

import json
from dataclasses import replace

from hypothesis import strategies as st
from tests.runtime.monitor.timeline import BASELINE, LIVE

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import (
    Facet,
    FeatureDrift,
    Measured,
    MonitorState,
    Violation,
    Violations,
)
from mlops_runtime.monitor.monitors.attribution_ranking import Explanation
from mlops_runtime.monitor.monitors.label_measures import Quality
from mlops_runtime.monitor.monitors.latency_measures import Latency
from mlops_runtime.monitor.monitors.monitor_table import violations
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

SPEC = MonitorSpec()
GOOD = Quality(
    rows=500,
    wape=0.44,
    bias=0.1,
    unmatched=0,
    mismatched=0,
    malformed=0,
    metrics=(Measured(name="wape", value=0.44, violated=False),),
)
KNOWN = replace(BASELINE, quality={"wape": 0.4, "bias": 0.0})
QUIET = FeatureDrift(name="price", psi=0.0, p_value=1.0, drifted=False, persistent=False)
FULL = Evidence(
    live=LIVE,
    baseline=KNOWN,
    traffic=Traffic(invocations=9, counted=3, rows=1000),
    rows=1000,
    features=(QUIET,),
    quality=GOOD,
)


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
    features=st.lists(st.builds(replace, st.just(QUIET), drifted=st.booleans(), persistent=VERDICT), max_size=2).map(
        tuple
    ),
    quality=st.sampled_from([None, GOOD, replace(GOOD, rows=0, wape=None), replace(GOOD, metrics=(measured(True),))]),
    explanation=st.sampled_from(
        [None, Explanation(state=MonitorState.OK), Explanation(state=MonitorState.MONITOR_NOT_RUN)]
    ),
    latency=st.sampled_from(
        [None, Latency(calls=0, measured=()), Latency(calls=500, measured=(measured(True, "p99"),))]
    ),
)
# of the documentation's pages; ours also have feature_name, by which all are listed in one table
DOCUMENTED = {
    "bias_drift_check": {"facet", "facet_value", "metric_name", "constraint_check_type", "description"},
    "feature_attribution_drift_check": {"label", "metric_name", "constraint_check_type", "description"},
    "LessThanThreshold": {"metric_name", "constraint_check_type", "description"},
    "GreaterThanThreshold": {"metric_name", "constraint_check_type", "description"},
}
DATA = {"feature_name", "constraint_check_type", "description"}


def found(evidence: Evidence, spec: MonitorSpec = SPEC) -> list[Violation]:
    """Return the violations; the file has exactly the documented members, and reads back."""
    made = violations(evidence, spec)
    body = canonical_json(made)
    assert from_json(Violations, body) == made
    for line in json.loads(body)["violations"]:
        assert set(line) == DOCUMENTED.get(line["constraint_check_type"], set()) | DATA
    return list(made.violations)
