"""States that decide whether a fleet stays: those that stop a rollout in SageMaker by its alarm."""

from mlops_constructs._state_machine import successors
from mlops_constructs.rollout.evidence_states import stop_states
from mlops_runtime.aws_api import check_machine


def test_the_alarm_is_set_and_kept() -> None:
    """The alarm fires by a metric value first; a failed call stops nothing else, and its error is no reason."""
    states = stop_states("$why", names=("Keep", "Stop"), next_state="Next")
    assert [set(successors(state)) for state in states.values()] == [{"Stop"}, {"Next"}]
    assert [state["Catch"][-1].get("Assign") for state in states.values()] == [None, None]
    assert states["Stop"]["Arguments"]["StateReason"] == "{% $substring($why, 0, 1023) %}"
    machine = {"QueryLanguage": "JSONata", "StartAt": "Keep", "States": {**states, "Next": {"Type": "Succeed"}}}
    assert check_machine(machine) == []
