"""The guard's decisions are counted by CloudWatch and the embedded cloud alike."""

import pytest

from mlops_local.embedded_metrics import read
from mlops_runtime.contracts.retraining import Decision, GuardDecision
from mlops_runtime.retraining.decision_metric import COUNTED, decision_dimensions, decision_line


@pytest.mark.parametrize("decision", list(Decision))
def test_a_decision_is_counted_once(decision: Decision) -> None:
    """By pipeline and decision; the end of a run is not a request."""
    made = GuardDecision(decision=decision, event_id="e", at="2017-08-01T09:00:00Z", reason="because")
    line = decision_line(made, unit="demand", pipeline="demand-forecast")
    if decision is Decision.RELEASED:
        assert line is None
        return
    assert line is not None
    [datum] = read(line)
    assert (datum.namespace, datum.name, datum.values) == ("MLOps/demand", "RetrainingDecisions", (1.0,))
    assert datum.dimensions == decision_dimensions("demand-forecast", decision)
    assert decision in COUNTED
