"""The monitor of explainability: state, metric, violation and words of one explanation."""

from dataclasses import replace

import pytest
from tests.runtime.monitor.evidence import FULL, SPEC, found
from tests.runtime.monitor.test_metric_lines import values
from tests.runtime.monitor.test_report import report_of

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.monitor.monitors.attribution_ranking import compare
from mlops_runtime.monitor.monitors.explainability import EXPLAINABILITY
from mlops_runtime.monitor.monitors.monitor_table import states

ANOTHER = compare({"a": 2.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "b": 1.0, "c": 4.0}, 0.95)
SAME = compare({"a": 2.0, "b": 1.0}, {"a": 4.0, "b": 1.0}, 0.9)


def test_it_has_a_state_only_where_something_was_explained() -> None:
    """An unusable baseline hides it, as it hides drift."""
    assert "explainability" not in states(FULL, SPEC)
    assert states(replace(FULL, explanation=SAME), SPEC)["explainability"] is MonitorState.OK
    assert states(replace(FULL, explanation=ANOTHER), SPEC)["explainability"] is MonitorState.VIOLATION
    broken = replace(FULL, explanation=ANOTHER, baseline=None, flaw="gone")
    assert states(broken, SPEC)["explainability"] is MonitorState.MONITOR_NOT_RUN


@pytest.mark.parametrize(("explanation", "said"), [(SAME, 0), (ANOTHER, 1)])
def test_another_order_of_features_is_said_published_and_a_violation(explanation: object, said: int) -> None:
    """The same ranking is published alone."""
    evidence = replace(FULL, explanation=explanation)
    report = report_of(evidence)
    assert values(report)["explainability/Ndcg"] == report.ndcg
    sentences = list(EXPLAINABILITY.sentence(report))
    assert [each.startswith("features matter in another order than in training (NDCG 0.") for each in sentences] == [
        True
    ] * said
    lines = [line for line in found(evidence) if line.constraint_check_type == "feature_attribution_drift_check"]
    assert [(line.label, line.metric_name) for line in lines] == [("prediction", "shap")] * said
