"""The states that compare a shadow's answers: significant differences, too few pairs, unreadable captures."""

from mlops_constructs._state_machine import successors
from mlops_constructs.rollout.pair_states import pair_states

FIRST, STATES = pair_states(answers_arn="arn:answers", partition="aws")


def test_every_state_leads_out() -> None:
    """They lead to a passed shadow, to its end, or to a shadow that could not be evaluated."""
    reached = {name for state in STATES.values() for name in successors(state)}
    assert reached == {"ShadowPassed", "EndShadow", "ShadowUnknown"} | set(STATES) - {FIRST}


def test_only_enough_pairs_that_show_nothing_pass() -> None:
    """Missing evidence is not success."""
    assert [name for name, state in STATES.items() if "ShadowPassed" in successors(state)] == [
        "HasPairs",
        "PairsPassed",
    ]
    conditions = [choice["Condition"] for choice in STATES["ArePairsGood"]["Choices"]]
    assert conditions == ["{% $pairs.pairs < $plan.min_invocations %}", "{% $pairs.passed %}"]
    assert STATES["ArePairsGood"]["Default"] == "PairsApart"
    assert STATES["ComparePairs"]["Catch"][-1]["Next"] == "ShadowUnknown"
