"""The states of a shadow as a graph: whatever it shows, the endpoint goes back to the live config."""

from mlops_constructs._states import successors
from mlops_constructs.rollout.policy import FAILED, TURNED_DOWN
from mlops_constructs.rollout.shadow import shadow_states

FIRST, STATES = shadow_states(endpoint_name="e", limit=3600, next_state="Next", partition="aws")
OUT = {"Next", TURNED_DOWN, FAILED, "Caught"}


def reached(start: str, *without: str) -> set[str]:
    """Return every state and exit that may follow, as if some states were not there."""
    seen, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in seen and name not in without:
            seen.add(name)
            left += [] if name in OUT else list(successors(STATES[name]))
    return seen


def test_every_state_is_reached_and_leads_out():
    """To the first step, to a candidate that is turned down, or to a failure."""
    assert reached(FIRST) == set(STATES) | OUT


def test_no_way_leads_on_past_the_way_back():
    """Once the shadow may serve, only through the update to the live config, or a failure that says what is there."""
    assert reached("BakeShadow", "EndShadow") & OUT == set()
    assert reached("StartShadow", "EndShadow", "ShadowNotStarted") & OUT == {FAILED}


def test_what_cannot_be_judged_did_not_pass():
    """Each measurement that fails leads to the same end."""
    asked = ("CountShadowCalls", "CountShadowErrors", "AskShadowLatency")
    assert {STATES[name]["Catch"][0]["Next"] for name in asked} == {"ShadowUnknown"}
    assert STATES["ShadowUnknown"]["Assign"]["shadowed"] == "failed"
    assert STATES["IsShadowGood"]["Default"] == "ShadowPassed"


def test_while_the_shadow_may_serve_nothing_of_the_candidate_is_an_orphan():
    """Its model is in use, whatever the call answered; after the way back it is none any more."""
    start = STATES["StartShadow"]
    assert start["Assign"]["orphan"] is start["Catch"][0]["Assign"]["orphan"] is False
    assert STATES["ShadowEnded"]["Assign"]["orphan"] is True
