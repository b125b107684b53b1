"""The states of a rehearsal, of a shadow and of golden requests in service as graphs: what is created is deleted on every path."""

from mlops_constructs._state_machine import successors, tasks
from mlops_constructs.rollout.candidate_states import (
    bake_states,
    promotion_states,
    rehearsal_states,
    shadow_states,
    synthetic_states,
)
from mlops_constructs.rollout.rollout_policy import FAILED, PROMOTED, TURNED_DOWN

FIRST, STATES = rehearsal_states(golden_arn="arn:golden", next_state="Next")
OUT = {"Next", TURNED_DOWN, FAILED}


FIRST_SHADOW, SHADOW_STATES = shadow_states(
    endpoint_name="e",
    verdict_arn="arn:verdict",
    limit=3600,
    next_state="Next",
    answers_arn="arn:answers",
)
OUT_OR_CAUGHT = {"Next", TURNED_DOWN, FAILED, "Caught"}
(_, IN_BAKE), BAKE = bake_states(golden_arn="arn:golden", endpoint_name="e", next_state="Next")
AT_END, END = promotion_states(golden_arn="arn:golden", endpoint_name="e")


def reached(start: str, without: str | None = None) -> set[str]:
    """Return the reachable states and exits without one state."""
    seen, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in seen and name != without:
            seen.add(name)
            left += [] if name in OUT else list(successors(STATES[name]))
    return seen


def test_every_state_is_reached_and_leads_out():
    """They lead to the next step, to a rejected candidate, or to a failure."""
    assert reached(FIRST) == set(STATES) | OUT


def test_no_way_leads_out_past_the_deletion():
    """Once the endpoint may exist, every path deletes it."""
    assert reached("CreateRehearsal", without="EndRehearsal") & OUT == set()


def test_only_what_passed_goes_on():
    """A negative result and a failed rehearsal lead elsewhere."""
    assert STATES["AfterRehearsal"]["Choices"][0]["Condition"] == "{% $rehearsed = 'passed' %}"
    passed = [name for name, state in STATES.items() if state.get("Assign", {}).get("rehearsed") == "passed"]
    assert passed == ["Rehearsed"]
    assert [name for name, state in STATES.items() if "Rehearsed" in successors(state)] == ["IsGolden"]


def test_a_synthetic_call_that_fails_changes_nothing():
    """Alarms evaluate the calls."""
    _, states = synthetic_states(golden_arn="arn:golden", endpoint_name="e", next_state="Next")
    ((_, call),) = tasks({"States": states})
    assert call["Next"] == call["Catch"][0]["Next"] == "Next"
    assert "Assign" not in call["Catch"][0]


def reached_of_shadow(start: str, *without: str) -> set[str]:
    """Return the reachable states and exits without some states."""
    seen, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in seen and name not in without:
            seen.add(name)
            left += [] if name in OUT_OR_CAUGHT else list(successors(SHADOW_STATES[name]))
    return seen


def test_shadow_every_state_is_reached_and_leads_out():
    """They lead to the first step, to a rejected candidate, or to a failure."""
    assert reached_of_shadow(FIRST_SHADOW) == set(SHADOW_STATES) | OUT_OR_CAUGHT


def test_no_way_leads_on_past_the_way_back():
    """Once the shadow may serve, every path updates to the live config or fails with the remaining resources."""
    assert reached_of_shadow("BakeShadow", "EndShadow") & OUT_OR_CAUGHT == set()
    assert reached_of_shadow("StartShadow", "EndShadow", "ShadowNotStarted") & OUT_OR_CAUGHT == {FAILED}


def test_what_cannot_be_judged_did_not_pass():
    """Each failed measurement leads to the same end."""
    requested = ("CompareShadow", "CountShadowErrors", "AskShadowLatency")
    assert {SHADOW_STATES[name]["Catch"][0]["Next"] for name in requested} == {"ShadowUnknown"}
    assert SHADOW_STATES["ShadowUnknown"]["Assign"]["shadowed"] == "failed"
    assert SHADOW_STATES["IsShadowGood"]["Default"] == "HasPairs"


def test_while_the_shadow_may_serve_nothing_of_the_candidate_is_an_orphan():
    """Its model is in use, whatever the call returned; after the update back it is not."""
    start = SHADOW_STATES["StartShadow"]
    assert start["Assign"]["orphan"] is start["Catch"][0]["Assign"]["orphan"] is False
    assert SHADOW_STATES["ShadowEnded"]["Assign"]["orphan"] is True


def test_every_state_leads_out():
    """During the bake they continue; at the end they promote or roll back."""
    assert {name for state in BAKE.values() for name in successors(state)} == {"Next"} | set(BAKE) - {IN_BAKE}
    assert {name for state in END.values() for name in successors(state)} == {PROMOTED, "Revert"} | set(END) - {AT_END}


def test_what_cannot_be_asked_in_the_bake_is_left_to_the_last_time():
    """It counts as passed there, and no error text reaches the record."""
    ask = BAKE["AskInBake"]["Catch"][-1]
    assert (ask["Next"], ask["Assign"]) == ("Next", {"again": {"sent": True, "passed": True, "reason": ""}})
    stops = [state for name, state in tasks({"States": BAKE}) if name != "AskInBake"]
    assert [state["Catch"][-1].get("Assign") for state in stops] == [None, None]


def test_only_what_passed_is_promoted():
    """Plans without golden requests are excepted."""
    assert [name for name, state in END.items() if PROMOTED in successors(state)] == ["IsAskedAgain", "GoldenAgain"]
    assert END["AskAgain"]["Catch"][-1]["Next"] == "AgainUnknown"
