"""The states that repeat golden requests, as a graph: failures roll back, and errors never end an execution."""

from mlops_constructs._state_machine import successors, tasks
from mlops_constructs.rollout.golden_states import bake_states, promotion_states
from mlops_constructs.rollout.rollout_policy import PROMOTED

(_, IN_BAKE), BAKE = bake_states(golden_arn="arn:golden", endpoint_name="e", next_state="Next", partition="aws")
AT_END, END = promotion_states(golden_arn="arn:golden", endpoint_name="e", partition="aws")


def test_every_state_leads_out():
    """During the bake they continue; at the end they promote or roll back."""
    assert {name for state in BAKE.values() for name in successors(state)} == {"Next"} | set(BAKE) - {IN_BAKE}
    assert {name for state in END.values() for name in successors(state)} == {PROMOTED, "Revert"} | set(END) - {AT_END}


def test_what_cannot_be_asked_in_the_bake_is_left_to_the_last_time():
    """It counts as passed there, and no error text reaches the record."""
    ask = BAKE["AskInBake"]["Catch"][-1]
    assert (ask["Next"], ask["Assign"]) == ("Next", {"again": {"asked": True, "passed": True, "reason": ""}})
    stops = [state for name, state in tasks({"States": BAKE}) if name != "AskInBake"]
    assert [state["Catch"][-1].get("Assign") for state in stops] == [None, None]


def test_only_what_passed_is_promoted():
    """Plans without golden requests are excepted."""
    assert [name for name, state in END.items() if PROMOTED in successors(state)] == ["IsAskedAgain", "GoldenAgain"]
    assert END["AskAgain"]["Catch"][-1]["Next"] == "AgainUnknown"
