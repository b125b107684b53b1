"""The explainability monitor: state, metric, violation and message of an explanation."""

from dataclasses import replace

import pytest
from tests.runtime.monitor.evidence import FULL, KNOWN, changed, found, report_of, states
from tests.runtime.monitor.test_cloudwatch_metrics import values

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import ExplainabilityResult
from mlops_runtime.monitor.monitors.attribution_ranking import compare
from mlops_runtime.monitor.monitors.explainability import EXPLAINABILITY

MATTERED = {"a": 2.0, "b": 1.0, "c": 0.0}
ANOTHER = compare(MATTERED, {"a": 0.0, "b": 1.0, "c": 4.0}, 0.9)
SAME = compare(MATTERED, {"a": 4.0, "b": 1.0, "c": 0.0}, 0.9)
EXPLAINED = replace(FULL, baseline=replace(KNOWN, attributions=MATTERED))


def test_it_has_a_state_only_where_something_was_explained() -> None:
    """An unusable baseline hides the state, as it hides drift."""
    assert "explainability" not in states(FULL)
    assert states(changed(FULL, explainability=SAME))["explainability"] is MonitorState.OK
    assert states(changed(FULL, explainability=ANOTHER))["explainability"] is MonitorState.VIOLATION
    broken = changed(FULL, explainability=ANOTHER, baseline=None, flaw="gone")
    assert states(broken)["explainability"] is MonitorState.MONITOR_NOT_RUN


@pytest.mark.parametrize(("explained", "expected"), [(SAME, 0), (ANOTHER, 1)])
def test_another_order_of_features_is_said_published_and_a_violation(
    explained: ExplainabilityResult, expected: int
) -> None:
    """Another ranking is in the message, a metric and a violation; the same ranking is only a metric."""
    evidence = changed(EXPLAINED, explainability=explained)
    report = report_of(evidence)
    assert values(report)["explainability/Ndcg"] == explained.ndcg
    sentences = list(EXPLAINABILITY.sentence(explained, report))
    assert [
        each.startswith("the ranking of features differs from that in training (NDCG 0.") for each in sentences
    ] == [True] * expected
    lines = [line for line in found(evidence) if line.constraint_check_type == "feature_attribution_drift_check"]
    assert [(line.label, line.metric_name) for line in lines] == [("prediction", "shap")] * expected
