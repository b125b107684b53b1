"""The states of the clean-up as a graph: none of them can keep the lock from being released."""

from mlops_constructs._states import successors, tasks
from mlops_constructs.rollout.clean_up import clean_up_states

FIRST, STATES = clean_up_states(endpoint_name="e", next_state="Unlock", partition="aws")


def test_every_state_is_reached_and_all_end_with_the_next():
    """There is no other way out, and no state that fails."""
    seen, left = set[str](), [FIRST]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += [] if name == "Unlock" else list(successors(STATES[name]))
    assert seen == {*STATES, "Unlock"}
    assert [name for name, state in STATES.items() if state["Type"] == "Fail"] == []


def test_what_cannot_be_deleted_is_passed_over():
    """Success and failure of each deletion lead to the same place."""
    deletions = [(name, state) for name, state in tasks({"States": STATES}) if ":delete" in state["Resource"]]
    assert len(deletions) == 5
    for name, state in deletions:
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
        assert state["Catch"][-1]["Next"] == state["Next"], name


def test_one_thing_that_breaks_off_a_round_ends_no_execution():
    """Rounds over versions and rehearsals go on as if they had ended."""
    rounds = [state for state in STATES.values() if state["Type"] == "Map"]
    assert rounds != []
    for state in rounds:
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


def test_what_serves_is_never_deleted():
    """The endpoint goes only where nothing was promoted and it was this execution's to make, or a first one that failed."""
    (choice,) = STATES["IsEndpointUnused"]["Choices"]
    for part in ("$outcome != 'PROMOTED'", "$applied", "$orphan", "$plan.action in ['create', 'discard']"):
        assert part in choice["Condition"]
    assert "$orphan" in STATES["WhatIsUnused"]["Assign"]["unused"]
