"""The states of a rehearsal as a graph: whatever happens, what was made is deleted before the rollout goes on."""

from mlops_constructs._states import successors, tasks
from mlops_constructs.rollout.policy import FAILED, TURNED_DOWN
from mlops_constructs.rollout.rehearsal import rehearsal_states, synthetic_states

FIRST, STATES = rehearsal_states(golden_arn="arn:golden", next_state="Next", partition="aws")
OUT = {"Next", TURNED_DOWN, FAILED}


def reached(start: str, without: str | None = None) -> set[str]:
    """Return every state and exit that may follow, as if one state were not there."""
    seen, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in seen and name != without:
            seen.add(name)
            left += [] if name in OUT else list(successors(STATES[name]))
    return seen


def test_every_state_is_reached_and_leads_out():
    """To the next step, to a candidate that is turned down, or to a failure."""
    assert reached(FIRST) == set(STATES) | OUT


def test_no_way_leads_out_past_the_deletion():
    """Once the endpoint may be there, only through the state that deletes it."""
    assert reached("CreateRehearsal", without="EndRehearsal") & OUT == set()


def test_only_what_passed_goes_on():
    """A verdict against it, and a rehearsal that broke, lead elsewhere."""
    assert STATES["AfterRehearsal"]["Choices"][0]["Condition"] == "{% $rehearsed = 'passed' %}"
    passed = [name for name, state in STATES.items() if state.get("Assign", {}).get("rehearsed") == "passed"]
    assert passed == ["Rehearsed"]
    assert [name for name, state in STATES.items() if "Rehearsed" in successors(state)] == ["IsGolden"]


def test_a_synthetic_call_that_fails_changes_nothing():
    """The alarms judge it."""
    _, states = synthetic_states(golden_arn="arn:golden", endpoint_name="e", next_state="Next", partition="aws")
    ((_, call),) = tasks({"States": states})
    assert call["Next"] == call["Catch"][0]["Next"] == "Next"
    assert "Assign" not in call["Catch"][0]
